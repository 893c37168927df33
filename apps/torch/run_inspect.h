#pragma once
#include "base/error.h"
#include "config/command_line.h"

namespace sinkscope {

/// `sinkscope inspect`: lists sites, streams and what was left alone; with --run, what one real call shows.
Exit run_inspect(const InspectConfig& config);

}  // namespace sinkscope
