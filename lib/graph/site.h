#pragma once
// An attention call found in a flat graph, with the values that the rewrite hands to the observing operator.

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <vector>

#include "graph/matrix_axes.h"
#include "metric/layout.h"

namespace sinkscope {

enum class SiteForm {
  sdpa,             ///< aten::scaled_dot_product_attention: the node itself is replaced
  fused_attention,  ///< sinkscope::fused_attention: likewise
  materialised,     ///< the model builds the probabilities: they are read where they are
  projected,        ///< one operator from hidden states to output: queries, keys and values are computed again
  marked,           ///< sinkscope::attention: the author declared the tensor
};

/// Keys or values as they enter a product: keys, then head dim.
struct MatrixPart {
  torch::jit::Value* value = nullptr;
  Axes axes;
};

/// The dim of the queries in the output, the weights and the scores.
struct QueryRows {
  int output = -2, weights = -2, scores = -2;
};

struct Site {
  SiteInfo info;
  SiteForm form = SiteForm::sdpa;
  std::string module;                ///< path of the module that holds the call; of a mark, info.path adds its name
  std::string called_as;             ///< the same below the module that called it: another path if they share it
  std::string mark;                  ///< marked: the name that the author gave
  bool inside_branch = false;        ///< below a prim::If or prim::Loop: may legitimately not run
  torch::jit::Node* node = nullptr;  ///< the call or mark; materialised: the product of probabilities and values
  torch::jit::Value* query = nullptr;
  torch::jit::Value* key = nullptr;    ///< before any repetition of KV heads
  torch::jit::Value* value = nullptr;  ///< before any repetition of KV heads

  // Materialised. Tensors are [B, H, Q, K] and the like up to the order of dims, or with B and H merged into one.
  torch::jit::Value* weights = nullptr;  ///< the probabilities that meet the values
  torch::jit::Value* scores = nullptr;   ///< input of the softmax, without a learned sink's column
  /// With a learned sink: the softmax with the sink's column; `weights` are a slice of it.
  torch::jit::Value* with_sink = nullptr;
  Axes weights_axes;  ///< queries, keys
  Axes scores_axes;   ///< queries, keys
  Axes key_axes;      ///< keys, head dim
  /// The scores are a sum of products, each of a part of the queries and keys: what stands behind `key` in a whole key.
  std::vector<MatrixPart> more_keys;
  std::vector<torch::jit::Node*> products;  ///< that the site is made of: those behind the scores, and with the values
  Axes value_axes;                          ///< keys, head dim
  Axes output_axes;                         ///< queries, head dim of the node's result
  /// Where an einsum does not say which of two dims is that of the queries: what is not in the `*_axes`. The run's
  /// sizes decide.
  std::optional<QueryRows> other_rows;
  int softmax_dim = -1;  ///< as written: a positive one is compared with the rank when the site runs
};

/// A softmax, a sigmoid between two products, or a product of products, that is not measured, and why.
struct LeftAlone {
  std::string path, op, reason;
  bool looks_like_attention = false;  ///< its scores are made of a product of two activations
};

}  // namespace sinkscope
