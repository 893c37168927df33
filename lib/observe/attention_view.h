#pragma once
// What a site hands over when it runs: the tensors of one batch, before any statistic is taken.

#include <ATen/core/Tensor.h>

#include <optional>

namespace sinkscope {

/// B sequences, H query heads, G KV heads, Q queries, K keys, D head dim. Tensors are the model's own: read, never
/// written.
struct AttentionView {
  at::Tensor key;     ///< [B, G, K, D], after RoPE and QK-norm, before any repetition of KV heads
  at::Tensor value;   ///< [B, G, K, Dv]
  at::Tensor output;  ///< [B, H, Q, Dv]: A V, before the output projection

  // Scaled dot-product attention: the matrix does not exist.
  at::Tensor query;                ///< [B, H, Q, D]
  std::optional<at::Tensor> mask;  ///< bool (true: visible) or additive
  bool is_causal = false;
  double scale = 1;
  at::Tensor lse;  ///< [B, H, Q] from the forward operator itself; undefined if the backend gave none

  // Materialised attention.
  at::Tensor weights;  ///< [B, H, Q, K] output of the softmax; undefined for scaled dot-product attention
  at::Tensor scores;   ///< [B, H, Q, K] input of the softmax: masked entries are -inf or the lowest finite value

  bool materialised() const { return weights.defined(); }
};

}  // namespace sinkscope
