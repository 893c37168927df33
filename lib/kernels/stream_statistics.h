#pragma once
// Norms and extremes of a residual stream [B, T, d]: definitions in metrics hidden_norm and massive_activation (Sun et
// al., Massive Activations in Large Language Models).

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sinkscope {

struct StreamRequest {
  bool extremes = true;            ///< top 3, median, massive elements; otherwise only norms and `finite`
  double massive_magnitude = 100;  ///< listed elements exceed this magnitude
  double massive_ratio = 1000;     ///< and are at least this multiple of the lower median
};

inline constexpr std::int64_t kMassiveLimit = 100;

/// On the device of the stream; without `extremes` all but `norm` and `finite` stay undefined. An index is position * d
/// + dimension; elements of equal magnitude come in the order of their index. Where `finite` is false the extremes mean
/// nothing.
struct StreamStatistics {
  at::Tensor norm;           ///< [B, T] float32: L2 norm of every position, to 1e-6 relative
  at::Tensor finite;         ///< [B] bool: no NaN, no Inf
  at::Tensor top_value;      ///< [B, 3] float64: signed values of the largest magnitudes; NaN where T * d < 3
  at::Tensor top_index;      ///< [B, 3] int64; -1 where T * d < 3
  at::Tensor median;         ///< [B] float64: exact lower median of the magnitudes; NaN where T * d = 0
  at::Tensor massive_value;  ///< [B, kMassiveLimit] float64: signed values above both thresholds, largest first; NaN
                             ///< beyond the last
  at::Tensor massive_index;  ///< [B, kMassiveLimit] int64; -1 beyond the last
};

/// One fused pass on the CPU (and a second over what the first left open for 32-bit values), ATen elsewhere and for
/// float64.
///   stream  [B, T, d]  float32, bfloat16, float16 or float64; any strides (a last dim that is not contiguous is
///   copied)
/// Throws InputError for another rank or dtype.
StreamStatistics stream_statistics(const at::Tensor& stream, const StreamRequest& request);

/// [B] float64: exact lower medians of non-negative `magnitude` [B, n], contiguous, n >= 1, of up to 32 bits. What
/// stands for a plain median off the CPU, where that takes one block of threads a row.
at::Tensor lower_medians(const at::Tensor& magnitude);

}  // namespace sinkscope
