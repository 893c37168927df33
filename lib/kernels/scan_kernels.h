#pragma once
// Bandwidth-bound inner loops over rows of a tensor, free of torch and compiled for several instruction sets like
// tile_kernels.h.

#include <cstdint>

#include "kernels/tile_kernels.h"

namespace sinkscope {

/// out[i, j] = row_i . key_j in float32.
///   rows [count, dim], `stride` elements apart; keys [key_count, dim] contiguous; out [count, key_count]
void few_key_products(const void* rows, Element element, std::int64_t stride, std::int64_t count, std::int64_t dim,
                      const float* keys, std::int64_t key_count, float* out);

struct RowScan {
  double squares = 0;  ///< sum of squares to 1e-6 relative; NaN or Inf exactly where an element is
  float largest = 0;   ///< largest magnitude; unspecified where an element is NaN
};

/// One row of `count` elements.
RowScan scan_row(const void* row, Element element, std::int64_t count);

}  // namespace sinkscope
