#pragma once
// The executable specification: every attention statistic in float64 on the materialised matrix. Slow, O(T^2) memory;
// for tests,
// `--verify` and nothing else. Definitions: kernels/score_function.h.

#include <ATen/core/Tensor.h>

#include "kernels/attention_call.h"

namespace sinkscope {

struct Reference {
  at::Tensor scores;         ///< [B, H, Q, K] float64 logits s_ij; -inf where masked
  at::Tensor probabilities;  ///< [B, H, Q, K] float64 A_ij, the learned sink's column dropped; 0 in a fully masked row
  at::Tensor lse;            ///< [B, H, Q] float64; +inf for a row with nothing in the denominator
  FullPass pass;             ///< all float64
};

/// Everything from `call.query`, `call.key`, score function, masks and sink; `call.lse` is not read.
/// Throws InputError as check_call does.
Reference reference(const AttentionCall& call);

/// What eager attention in the model's own dtype yields: logits and softmax in that dtype, statistics in float32. The
/// yardstick of measured tolerances, never a result.
Reference eager(const AttentionCall& call);

}  // namespace sinkscope
