#pragma once
// KV heads before each is repeated for the query heads of its group.

#include <torch/csrc/jit/ir/ir.h>

namespace sinkscope {

/// Follows repeat_interleave, reshape <- expand, repeat or stack <- unsqueeze, and an expand of a single head back to
/// the tensor before KV heads were repeated; `value` itself if there was no repetition. `head`: their dim in `value`,
/// from the end, of four. Where heads and positions change places after the repetition, or the batch is expanded with
/// the heads, the graph gains a node that does the rest of it.
torch::jit::Value* before_repetition(torch::jit::Value* value, int head = -3);

}  // namespace sinkscope
