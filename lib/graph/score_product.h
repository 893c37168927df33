#pragma once
// From a tensor of scores back to the products of queries and keys that it is made of.

#include <string>
#include <vector>

#include "graph/matrix_axes.h"
#include "graph/product.h"

namespace sinkscope {

/// A product behind a tensor of scores, and the matrix that two of its free dims span there.
struct ScoreProduct {
  Product product;
  FreeDim left, right;
  Axes axes;                                         ///< where these two stand in the scores
  int rank = 0;                                      ///< of the scores; 0: unknown
  bool left_depends = false, right_depends = false;  ///< on the input of the model

  /// Neither operand is learned alone.
  bool of_activations() const { return left_depends && right_depends; }
};

/// Searched through element-wise terms and changes of shape only. Those of two activations come first, then in the
/// order of the sum; of several free dims the last ones of the result come first. An operand may be a parameter.
std::vector<ScoreProduct> score_products_behind(torch::jit::Value* scores);

/// What `scores` come from if not from such a product, for messages: "aten::linear", "a parameter".
std::string origin_of(torch::jit::Value* scores);

}  // namespace sinkscope
