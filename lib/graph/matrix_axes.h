#pragma once
// Follows the two dims of an attention matrix through the operators that stand between products and softmax.

#include <torch/csrc/jit/ir/ir.h>

namespace sinkscope {

/// Two dims of a tensor, from the end: -1 is the last.
struct Axes {
  int rows = -2, columns = -1;
  bool operator==(const Axes&) const = default;
};

/// `axes` of the input `from` of `node` become those of its output; `rank` (0: unknown) likewise. True for element-wise
/// terms (scales, masks, soft caps, biases), casts, inactive dropout, convolutions of the logits, and changes of shape
/// that leave both dims whole. A positive dim of a tensor of unknown rank is read as one of four; the run confirms it.
bool carry_axes(const torch::jit::Node* node, const torch::jit::Value* from, Axes& axes, int& rank);

/// Likewise for what may follow the softmax without changing what a probability is: casts, dropout, changes of shape,
/// masks that set rows to 0.
bool carry_weights(const torch::jit::Node* node, const torch::jit::Value* from, Axes& axes, int& rank);

/// `dim` as written, counted from the end.
int from_end(std::int64_t dim, int rank);

}  // namespace sinkscope
