#pragma once
#include "base/error.h"
#include "config/command_line.h"

namespace sinkscope {

/// `sinkscope bench`: times the plain run and each preset, interleaved.
Exit run_bench(const BenchConfig& config);

}  // namespace sinkscope
