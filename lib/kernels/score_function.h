#pragma once
// The one score function of attention, shared by the float64 reference, the CPU and CUDA kernels and the tests:
//   s_ij = cap(scale * q_i . k_j)  where key j is visible to query i, else -inf;   cap(x) = softcap * tanh(x / softcap)
//   A_ij = exp(s_ij - lse_i),  lse_i = ln(sum_j exp(s_ij) [+ exp(sink_h)])
// Plain data, no torch: CUDA sources include it too.

#include <cstdint>

#if defined(__CUDACC__)
#define SINKSCOPE_HOST_DEVICE __host__ __device__
#else
#define SINKSCOPE_HOST_DEVICE
#endif

namespace sinkscope {

struct ScoreFunction {
  double scale = 1;         ///< multiplies q . k
  bool causal = false;      ///< key j visible to query i only if j <= i (top-left aligned)
  std::int64_t window = 0;  ///< with causal: only if i - j < window; 0: no window
  std::int64_t chunk = 0;   ///< with causal: only if i / chunk == j / chunk; 0: no chunks
  double softcap = 0;       ///< 0: no soft cap

  /// First key that query `i` may see.
  SINKSCOPE_HOST_DEVICE std::int64_t first_key(std::int64_t i) const {
    std::int64_t first = 0;
    if (window > 0 && i - window + 1 > first) first = i - window + 1;
    if (chunk > 0 && i / chunk * chunk > first) first = i / chunk * chunk;
    return first;
  }
  /// One past the last key that query `i` may see, of `keys` keys.
  SINKSCOPE_HOST_DEVICE std::int64_t end_key(std::int64_t i, std::int64_t keys) const {
    return causal && i + 1 < keys ? i + 1 : keys;
  }
  SINKSCOPE_HOST_DEVICE bool visible(std::int64_t i, std::int64_t j, std::int64_t keys) const {
    return j >= first_key(i) && j < end_key(i, keys);
  }
  bool hides_the_same(const ScoreFunction& other) const {
    return causal == other.causal && window == other.window && chunk == other.chunk;
  }
};

}  // namespace sinkscope
