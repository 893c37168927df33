#pragma once
// Launches of the CUDA full pass: raw pointers and a stream, no torch.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/score_function.h"

namespace sinkscope {

enum class CudaElement { f32, bf16, f16 };

/// Strides are in elements. The head dim is contiguous; base pointers are 16-byte aligned and all other strides whole
/// multiples of 16 bytes, as is dim. Head dims up to largest_cuda_dim().
struct FusedStatisticsArgs {
  const void* query;                // [B, H, Q, D]
  const void* key;                  // [B, G, K, D]
  const float* lse;                 // [B, H, Q] contiguous
  const std::uint8_t* key_visible;  // [B, K] contiguous, or null
  float* column_sum;                // [B, H, K]
  float* entropy;                   // [B, H, Q]
  float* row_max;                   // [B, H, Q]
  float* row_sum;                   // [B, H, Q]
  float* scratch;                   // fused_statistics_scratch() floats
  std::int64_t batch, heads, kv_heads, queries, keys, dim;
  std::int64_t query_stride[3], key_stride[3];  // of batch, head, token
  ScoreFunction score;
  CudaElement element;
  std::int64_t parts;  // parts_of_head()
};

/// 256 for 16-bit elements, 128 for float32.
std::int64_t largest_cuda_dim(CudaElement element);

/// Bytes of shared memory that a block needs; 0 for a head dim that the pass does not take.
std::int64_t fused_statistics_shared_bytes(CudaElement element, std::int64_t dim);

/// Floats of scratch memory: O(Q) a part and head.
std::int64_t fused_statistics_scratch(const FusedStatisticsArgs& args);

/// Queues the pass on `stream`; does not synchronise. No atomics: the same input gives the same bytes on the same
/// device. 16-bit products run on tensor cores with float32 accumulation; float32 products are plain FMA (error of one
/// rounding a term).
cudaError_t launch_fused_statistics(const FusedStatisticsArgs& args, cudaStream_t stream);

}  // namespace sinkscope
