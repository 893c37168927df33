#pragma once
// Passes over Q K^T, by the fastest means that can take the call.

#include <string>

#include "kernels/attention_call.h"

namespace sinkscope {

/// Whether a fused kernel takes the call: the CPU's, or the one of sinkscope_cuda.so, which is opened for the first
/// call on a CUDA device. Otherwise `why_not`, unless null, receives the reason.
bool full_pass_is_fused(const AttentionCall& call, std::string* why_not = nullptr);

/// Column sums, row entropy, row maximum and row sum: fused where full_pass_is_fused, else by blocks of rows.
/// Throws InputError as check_call does.
FullPass full_pass(const AttentionCall& call);

/// [B, H, Q] natural log-sum-exp of each row, learned sink included, for backends that gave none; `call.lse` is not
/// read. Tile by tile where fused_statistics_supports, else by blocks of rows. float32 (float64 for float64); +inf for
/// a fully masked row without a sink. Throws InputError as check_call does.
at::Tensor log_sum_exp(const AttentionCall& call);

}  // namespace sinkscope
