#pragma once
// sinkscope::fused_attention: causal attention with a window, chunks, a soft cap or learned sinks, which plain scaled
// dot-product attention could say only with a T x T mask.

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/score_function.h"
#include "observe/sdpa_forward.h"

namespace sinkscope {

/// B sequences, H query heads, G KV heads (H a multiple of G), T tokens.
struct FusedAttentionArguments {
  at::Tensor query;                 ///< [B, H, T, D]
  at::Tensor key;                   ///< [B, G, T, D]
  at::Tensor value;                 ///< [B, G, T, E]
  ScoreFunction score;              ///< causal
  std::optional<at::Tensor> sinks;  ///< [H] learned logits, in the denominator only; any float dtype
};

/// The schema's arguments as a causal score function; `dim` is D. Throws InputError for a negative or non-finite one.
ScoreFunction fused_attention_score(std::optional<double> scale, std::int64_t window, std::int64_t chunk,
                                    double softcap, std::int64_t dim);

/// What fused_attention gives. lse, key_lse [B, H, T] natural log.
struct FusedAttentionResult {
  at::Tensor output;   ///< [B, H, T, E] in the dtype of the query
  at::Tensor lse;      ///< sinks included
  at::Tensor key_lse;  ///< of the keys alone; undefined without sinks
};

///
/// Windows and chunks are cut into blocks that plain causal attention covers, and the parts joined by their
/// log-sum-exp; learned sinks scale the output by sigmoid(lse - sink). Memory grows with T. A soft cap, values of
/// another width than the keys, and the recording of gradients take blocks of rows instead, [B, H, rows, T] at a time.
/// Throws InputError for shapes that do not fit.
FusedAttentionResult fused_attention(const FusedAttentionArguments& arguments);

}  // namespace sinkscope
