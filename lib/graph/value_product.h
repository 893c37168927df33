#pragma once
// From probabilities forward to their product with the values.

#include <optional>
#include <string>

#include "graph/matrix_axes.h"
#include "graph/product.h"

namespace sinkscope {

/// The operator that turns scores into probabilities.
struct Normaliser {
  torch::jit::Value* scores = nullptr;         ///< those of the keys alone
  torch::jit::Value* probabilities = nullptr;  ///< its result
  std::optional<std::int64_t> dim;             ///< that it sums over, as written; empty: element by element
  bool drops_sink = false;                     ///< a slice takes the columns of the keys out of the probabilities
};

/// What the probabilities meet.
struct ValueProduct {
  Product product;
  bool is_left = true;                   ///< which operand the probabilities are
  FreeDim free;                          ///< of that operand: the dim of the queries
  torch::jit::Value* weights = nullptr;  ///< the last tensor that holds the probabilities themselves
  Axes weights_axes;                     ///< there: free dims of the score product's left and right operand
  Axes operand_axes;                     ///< in the operand
  bool sliced = false;                   ///< a slice took the columns of the keys out
  bool scaled = false;                   ///< a constant factor stands between `weights` and the operand

  const Operand& probabilities() const { return is_left ? product.left : product.right; }
  const Operand& values() const { return is_left ? product.right : product.left; }
};

/// Searched through what leaves a probability what it is (carry_weights), branches that all hand them on, a constant
/// factor, and the slice that drops a sink. `axes`, `rank`: of the probabilities. Values that depend on the input come
/// before tables of relative positions. `met`, if there is none, receives the operator at which the search ended.
std::optional<ValueProduct> value_product_ahead(const Normaliser& normaliser, const Axes& axes, int rank,
                                                std::string& met);

}  // namespace sinkscope
