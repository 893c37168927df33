#pragma once
// An attention call found in a flat graph, with the values that the rewrite hands to the observing operator.

#include <torch/csrc/jit/ir/ir.h>

#include "metric/layout.h"

namespace sinkscope {

enum class SiteForm {
  sdpa,          ///< aten::scaled_dot_product_attention: the node itself is replaced
  materialised,  ///< the model builds the probabilities: they are read where they are
};

struct Site {
  SiteInfo info;
  SiteForm form = SiteForm::sdpa;
  bool inside_branch = false;            ///< below a prim::If or prim::Loop: may legitimately not run
  torch::jit::Node* node = nullptr;      ///< sdpa: the call. materialised: the product of probabilities and values
  torch::jit::Value* weights = nullptr;  ///< materialised: output of the softmax
  torch::jit::Value* scores = nullptr;   ///< materialised: input of the softmax
  torch::jit::Value* key = nullptr;      ///< before any repetition of KV heads; [B, G, K, D]
  bool key_is_transposed = false;        ///< `key` is [B, G, D, K]
  torch::jit::Value* value = nullptr;    ///< before any repetition of KV heads; [B, G, K, D]
};

/// A softmax that is not measured, and why.
struct LeftAlone {
  std::string path, op, reason;
  bool looks_like_attention = false;  ///< its scores are a product of two activations
};

}  // namespace sinkscope
