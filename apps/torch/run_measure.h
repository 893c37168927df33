#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "config/command_line.h"

namespace sinkscope {

/// `sinkscope measure`: loads, runs, writes the report. `argv`: the command line after the program, for the report.
Exit run_measure(const MeasureConfig& config, std::vector<std::string> argv);

}  // namespace sinkscope
