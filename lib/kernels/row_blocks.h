#pragma once
// General tier: any attention call, any mask, CPU or CUDA, by streaming blocks of probability rows [B, H, rows, K].
// Memory is bounded by `block_bytes` plus O(T); speed is that of ATen's matmul and softmax kernels.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "kernels/attention_call.h"
#include "kernels/score_tensor.h"

namespace sinkscope {

inline constexpr std::int64_t kBlockBytes = std::int64_t{64} << 20;

/// A block of rows of some sequences and heads. Keys outside it are invisible to every row of the block.
struct RowBlock {
  BlockOrigin origin;
  at::Tensor logits;         ///< [b, h, r, k] float32 (float64 for float64); -inf where masked
  at::Tensor probabilities;  ///< [b, h, r, k] exp(logits - lse), 0 where masked
};

/// Calls `visit` for consecutive blocks that cover every visible (query, key) pair once; 16-bit queries and keys are
/// widened block by block. At least one row of one head at a time, so `block_bytes` is exceeded only where a single row
/// does not fit. Throws InputError as check_call does.
void for_each_row_block(const AttentionCall& call, std::int64_t block_bytes,
                        const std::function<void(const RowBlock&)>& visit);

/// All statistics of one more pass, for ANY call. Column sums are accumulated in float64 and are within 1e-5 relative
/// of a float64 computation of the same logits at T = 8192 in float32. float64 calls give float64 results. NaN in, NaN
/// out.
FullPass row_block_statistics(const AttentionCall& call, std::int64_t block_bytes = kBlockBytes);

/// [B, H, Q] natural log-sum-exp of each row, learned sink included, for ANY call; `call.lse` is not read. float32
/// (float64 for float64); +inf for a fully masked row without a sink.
at::Tensor row_block_log_sum_exp(const AttentionCall& call, std::int64_t block_bytes = kBlockBytes);

}  // namespace sinkscope
