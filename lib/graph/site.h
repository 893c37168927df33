#pragma once
// An attention call found in a flat graph, with the values that the rewrite hands to the observing operator.

#include <torch/csrc/jit/ir/ir.h>

#include "metric/layout.h"

namespace sinkscope {

enum class SiteForm {
  sdpa,             ///< aten::scaled_dot_product_attention: the node itself is replaced
  fused_attention,  ///< sinkscope::fused_attention: likewise
  materialised,     ///< the model builds the probabilities: they are read where they are
  marked,           ///< sinkscope::attention: the author declared the tensor
};

struct Site {
  SiteInfo info;
  SiteForm form = SiteForm::sdpa;
  std::string module;                    ///< path of the module that holds the call; of a mark, info.path adds its name
  std::string mark;                      ///< marked: the name that the author gave
  bool inside_branch = false;            ///< below a prim::If or prim::Loop: may legitimately not run
  torch::jit::Node* node = nullptr;      ///< the call or mark; materialised: the product of probabilities and values
  torch::jit::Value* weights = nullptr;  ///< materialised: output of the softmax
  torch::jit::Value* scores = nullptr;   ///< materialised: input of the softmax, without a learned sink's column
  /// Materialised with a learned sink: the softmax with the sink's column, [B, H, Q, K + 1]; `weights` are a slice of
  /// it.
  torch::jit::Value* with_sink = nullptr;
  torch::jit::Value* query = nullptr;  ///< [B, H, Q, D]
  torch::jit::Value* key = nullptr;    ///< before any repetition of KV heads; [B, G, K, D]
  bool key_is_transposed = false;      ///< `key` is [B, G, D, K]
  torch::jit::Value* value = nullptr;  ///< before any repetition of KV heads; [B, G, K, D]
};

/// A softmax that is not measured, and why.
struct LeftAlone {
  std::string path, op, reason;
  bool looks_like_attention = false;  ///< its scores are a product of two activations
};

}  // namespace sinkscope
