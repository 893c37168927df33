#pragma once
// The search that the idioms of materialised attention share: from the operator that makes probabilities back to the
// product of queries and keys, and forward to the product with the values.

#include <optional>
#include <string>

#include "graph/product.h"
#include "graph/site.h"

namespace sinkscope {

/// The product of queries and keys behind a tensor of scores.
struct ScoreProduct {
  Product product;
  Axes axes;     ///< where the free dims of the left and of the right operand stand in the scores
  int rank = 0;  ///< of the scores; 0: unknown
};

/// Searched through element-wise terms and changes of shape only. Both operands depend on the input; `learned`, if not
/// null, says whether there is a product where only one does (relative positions, pooling, routing).
std::optional<ScoreProduct> score_product_behind(torch::jit::Value* scores, bool* learned = nullptr);

/// What `scores` come from if not from such a product, for messages: "aten::linear", "a parameter".
std::string origin_of(torch::jit::Value* scores);

/// The operator that turns scores into probabilities.
struct Normaliser {
  torch::jit::Value* scores = nullptr;         ///< those of the keys alone
  torch::jit::Value* probabilities = nullptr;  ///< its result
  std::optional<std::int64_t> dim;             ///< that it sums over, as written; empty: element by element
  bool drops_sink = false;                     ///< a slice takes the columns of the keys out of the probabilities
};

/// The site around `normaliser`. `problem`, if it is none, receives why: empty where no product of two activations is
/// behind the scores.
std::optional<Site> matrix_attention(const Normaliser& normaliser, std::string& problem);

}  // namespace sinkscope
