#pragma once
// Rewrites a flat graph so that parameters are fetched where they are used.

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace sinkscope {

/// Before each node that uses one of `parameters` (names as in attribute_path), puts a
/// sinkscope::fetch_parameter(stream, step) that the node reads instead; steps count in execution order. The
/// interpreter drops a fetched tensor after its node, so no parameter lives longer than its use. Returns the parameter
/// of each step.
std::vector<std::string> stream_parameters(torch::jit::Graph& graph, std::int64_t stream,
                                           const std::set<std::string>& parameters);

}  // namespace sinkscope
