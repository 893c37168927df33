// Attention masks for the tests of what is measured below them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace sinkscope::made_masks {

/// Whether query i sees key j, [length, length] bool: the last `width` keys.
inline at::Tensor band(std::int64_t length, std::int64_t width) {
  return at::ones({length, length}, at::kBool)
      .tril()
      .logical_and(at::ones({length, length}, at::kBool).triu(1 - width));
}

/// The same as an additive mask: 0, and `fill` where hidden.
inline at::Tensor additive(const at::Tensor& visible, double fill) {
  return at::zeros(visible.sizes()).masked_fill(visible.logical_not(), fill);
}

}  // namespace sinkscope::made_masks
