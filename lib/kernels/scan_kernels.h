#pragma once
// Bandwidth-bound inner loops over rows of a tensor, free of torch and compiled for several instruction sets like
// tile_kernels.h.

#include <cstdint>

#include "kernels/tile_kernels.h"

namespace sinkscope {

/// out[i, j] = row_i . key_j in float32.
///   rows [count, dim], `stride` elements apart; keys [key_count, dim] contiguous;
///   out [count, few_key_stride(key_count)], 0 beyond the last key
void few_key_products(const void* rows, Element element, std::int64_t stride, std::int64_t count, std::int64_t dim,
                      const float* keys, std::int64_t key_count, float* out);

/// Whole vectors on every instruction set.
constexpr std::int64_t few_key_stride(std::int64_t key_count) {
  return (key_count + kMaxColumnLanes - 1) / kMaxColumnLanes * kMaxColumnLanes;
}

/// values[i, j] = exp(scale * values[i, j] - lse[i]) =: p, 0 below 2^-126. Relative error below 3e-7 + 6e-8 |ln p|: of
/// the exponential, and of its argument rounded to float32.
///   values [count, stride], stride a multiple of kMaxColumnLanes
void few_probabilities(float* values, std::int64_t count, std::int64_t stride, const float* lse, double scale);

/// The lower halves of those of `bits` [count] whose upper half is `upper` but for the sign, in their order; their
/// number. `out` has room for `count` and a vector more.
std::int64_t lower_halves(const std::uint32_t* bits, std::int64_t count, std::uint32_t upper, std::uint32_t* out);

struct RowScan {
  double squares = 0;  ///< sum of squares to 1e-6 relative; NaN or Inf exactly where an element is
  float largest = 0;   ///< largest magnitude; unspecified where an element is NaN
};

/// One row of `count` elements.
RowScan scan_row(const void* row, Element element, std::int64_t count);

}  // namespace sinkscope
