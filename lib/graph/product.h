#pragma once
// Products of two tensors over one dim: matmul, bmm, baddbmm and the einsums that say the same.

#include <torch/csrc/jit/ir/ir.h>

#include <optional>

namespace sinkscope {

/// left [..., m, d] times right [..., d, n] gives [..., m, n]. Dims count from the end: -1 is the last.
struct Product {
  torch::jit::Node* node = nullptr;
  torch::jit::Value *left = nullptr, *right = nullptr;
  int left_free = -2, left_inner = -1;    ///< dims m and d of `left`
  int right_free = -1, right_inner = -2;  ///< dims n and d of `right`
  int out_left = -2, out_right = -1;      ///< dims m and n of the result
  int rank = 0;                           ///< of the result; 0 where the operator does not say it
};

/// The product that `node` computes; empty for other nodes, for einsums that sum over several dims or take more than
/// two tensors, and where an operand is a parameter (at most reshaped or cast).
std::optional<Product> product_of_activations(torch::jit::Node* node);

/// Whether the values of `value` come from the inputs of the graph. Sizes do not count: position tables and masks made
/// of them hold the same values for every input.
bool depends_on_input(torch::jit::Value* value);

}  // namespace sinkscope
