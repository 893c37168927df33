#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "sweep/sweep_config.h"

namespace sinkscope {

/// `sinkscope sweep`: one graph, many weights (or many model files), one report each. `argv`: the command line after
/// the program, for the reports.
Exit run_sweep(const SweepConfig& config, const std::vector<std::string>& argv);

}  // namespace sinkscope
