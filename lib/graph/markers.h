#pragma once
// The markers that inline_with_paths leaves at the calls of blocks: sinkscope::block_input(x, call, argument) and
// sinkscope::block_output(x, call, element).

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string_view>

namespace sinkscope {

bool is_marker(const torch::jit::Node* node, std::string_view name);
/// A cast, a copy, inactive dropout or a marker: its result is its first input, unchanged.
bool is_copy(const torch::jit::Node* node);
/// Number of the call, the index into FlatGraph::calls.
std::optional<std::int64_t> call_of(const torch::jit::Node* marker);

/// Number of the tensor among those that the call takes or returns: block_input counts arguments, the module itself
/// being 0, block_output the tensors of a tuple from 0.
std::int64_t element_of(const torch::jit::Node* marker);

/// What went into the tuple at the place where `value` came out of it; null if `value` was not in a tuple.
torch::jit::Value* tuple_element(torch::jit::Value* value);

/// The block_input marker of `call` nearest to `output`, walking back from it: through additions and casts alone (the
/// residual path of pre-norm blocks), or, with `any_op`, through anything (post-norm). Null if there is none.
torch::jit::Node* residual_input(torch::jit::Value* output, std::int64_t call, bool any_op);

/// Whether `value` is what `marker` hands on, unchanged but for casts, copies and dropout.
bool is_result_of(torch::jit::Value* value, const torch::jit::Node* marker);

}  // namespace sinkscope
