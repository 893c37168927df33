#pragma once
// One attention call as the kernels see it, and the statistics they return.

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/score_function.h"

namespace sinkscope {

/// Shapes: B sequences, H query heads, G KV heads (H a multiple of G; query head h uses KV head h / (H / G)), Q
/// queries, K keys, D head dim. Any strides with a contiguous last dim.
struct AttentionCall {
  at::Tensor query;  ///< [B, H, Q, D] float32, bfloat16, float16 or float64
  at::Tensor key;    ///< [B, G, K, D] same dtype, after RoPE and QK-norm
  ScoreFunction score;
  std::optional<at::Tensor> mask;         ///< bool (true: visible) or additive float, broadcastable to [B, H, Q, K]
  std::optional<at::Tensor> key_padding;  ///< [B, K] bool, true: visible; understood by the fused kernels
  std::optional<at::Tensor> sink_logit;   ///< [H] learned sink logits, in the denominator only
  at::Tensor lse;  ///< [B, H, Q] float32 (float64 for float64), natural log, sink included; fully masked rows 0 or +inf
  /// [B, H, Q] as lse, of the keys alone, where there is a sink and the forward gave it. It says what the sink leaves
  /// to the keys, which 1 - exp(sink - lse) rounds away beside a sink that takes nearly all.
  at::Tensor key_lse;
};

/// What one more pass over Q K^T gives. A fully masked row contributes nothing and has row_sum 0.
struct FullPass {
  at::Tensor column_sum;  ///< [B, H, K] float32: sum over queries of A_ij
  at::Tensor entropy;     ///< [B, H, Q] float32: -sum_j A_ij ln A_ij, nats, over real keys, not renormalised
  at::Tensor row_max;     ///< [B, H, Q] float32: largest logit s_ij; -inf for a fully masked row
  at::Tensor row_sum;     ///< [B, H, Q] float32: sum_j A_ij, 1 or 1 - sink mass to rounding
};

}  // namespace sinkscope
