#pragma once
// The log-sum-exp of every row on the CPU, tile by tile in O(T) memory, where a backend gave none.

#include "kernels/attention_call.h"

namespace sinkscope {

/// [B, H, Q] float32 natural log-sum-exp of a call that fused_statistics_supports, learned sink included; `call.lse` is
/// not read. +inf for a row with nothing in its denominator; NaN for a row with a NaN logit, or with +inf. Tiles,
/// masks, threads and strides as fused_statistics; the result does not depend on the number of threads. Throws
/// InputError as check_call does, or where the call is not supported.
at::Tensor fused_log_sum_exp(const AttentionCall& call);

}  // namespace sinkscope
