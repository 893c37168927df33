#pragma once
// Fast tier on the CPU: column sums, row entropy, row maximum and row sum in one more pass over Q K^T, tile by tile, in
// O(T) memory.

#include <string>

#include "kernels/attention_call.h"

namespace sinkscope {

/// Whether fused_statistics can take the call: float32, bfloat16 or float16 on the CPU, no mask tensor (key padding is
/// fine). Otherwise `why_not`, unless null, receives the reason and row_block_statistics is the way.
bool fused_statistics_supports(const AttentionCall& call, std::string* why_not = nullptr);

/// Statistics of a call that is supported. Tiles outside the causal triangle, the window or the chunk are never
/// touched; grouped keys are not expanded; any strides with a contiguous last dim. Threads share rows of one head as
/// well as heads. The result is the same for the same number of threads, bit for bit, and within 1e-6 for another. A
/// row with a NaN logit, or with +inf, gives NaN. Numerics: exp to 2.5e-7 relative
/// (tests/kernels/tile_kernels_test.cpp), products in float32, column sums in float64 across tiles. Throws InputError
/// as check_call does, or where fused_statistics_supports is false.
FullPass fused_statistics(const AttentionCall& call);

}  // namespace sinkscope
