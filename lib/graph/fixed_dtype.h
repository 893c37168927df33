#pragma once
// What ties a traced graph to the dtype it was traced in.

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string>

namespace sinkscope {

/// Why a flat graph of parameters in `own` would mean something else with parameters in `wanted`, naming the node or
/// the buffer; empty if it keeps its meaning. Looked for are: an argument `dtype` that is `own`; a tensor made without
/// a dtype where `own` is the default one; a buffer or tensor constant in `own` that takes part in the choice of a
/// result's dtype, or whose value is rounded; a number that `wanted` cannot hold.
std::optional<std::string> fixed_to_dtype(torch::jit::Graph& graph, const torch::jit::Module& module,
                                          at::ScalarType own, at::ScalarType wanted);

}  // namespace sinkscope
