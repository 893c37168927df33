#pragma once
// L2 norms over the last dim of keys, values and head outputs, reduced over positions.

#include <ATen/core/Tensor.h>

namespace sinkscope {

struct FirstAndOthers {
  at::Tensor first;   ///< [B, G] float64: norm at position 0; NaN at T = 0
  at::Tensor others;  ///< [B, G] float64: mean norm at positions 1..; NaN at T <= 1
};

struct MeanAndLast {
  at::Tensor mean;  ///< [B, H] float64: mean norm over positions; NaN where there are none
  at::Tensor last;  ///< [B, H] float64: norm at the last position; NaN at T = 0
};

/// [B, N, T] float32 (float64 for float64): L2 norms of `x` [B, N, T, D], any float dtype and strides; 16-bit values
/// are widened first.
at::Tensor vector_norms(const at::Tensor& x);

/// Norms of keys or values [B, G, T, D]. Throws InputError unless 4-D and floating.
FirstAndOthers first_and_others_norms(const at::Tensor& x);

/// Norms of head outputs [B, H, T, D]. Throws InputError unless 4-D and floating. `counted` [1 or B, 1 or H, T] bool:
/// positions that the mean is over; undefined: all.
MeanAndLast mean_and_last_norms(const at::Tensor& x, const at::Tensor& counted = {});

}  // namespace sinkscope
