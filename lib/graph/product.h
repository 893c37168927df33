#pragma once
// Products of two tensors over one dim: matmul, bmm, baddbmm and the einsums that say the same.

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <vector>

namespace sinkscope {

/// A dim that a product does not sum over: where it stands in the operand and in the result.
struct FreeDim {
  int operand = -1, result = -1;
};

/// One side of a product. Dims count from the end: -1 is the last.
struct Operand {
  torch::jit::Value* value = nullptr;
  int inner = -1;             ///< the dim that is summed over
  std::vector<FreeDim> free;  ///< those that the other side lacks, in the order of the result; never empty
};

/// left [..., m, d] times right [..., d, n] gives [..., m, n].
struct Product {
  torch::jit::Node* node = nullptr;
  Operand left, right;
  int rank = 0;  ///< of the result; 0 where the operator does not say it
};

/// The product of two tensors that `node` computes; empty for other nodes and for einsums that sum over several dims,
/// take more than two tensors, or where both have several free dims.
std::optional<Product> product_of(torch::jit::Node* node);

/// Likewise; empty where an operand is a parameter (at most reshaped or cast).
std::optional<Product> product_of_activations(torch::jit::Node* node);

/// Whether the values of `value` come from the inputs of the graph. Sizes do not count: position tables and masks made
/// of them hold the same values for every input.
bool depends_on_input(torch::jit::Value* value);

}  // namespace sinkscope
