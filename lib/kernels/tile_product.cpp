#include "kernels/tile_product.h"

#include <ATen/native/CPUBlas.h>

#include <algorithm>

namespace sinkscope {
namespace blas = at::native::cpublas;

bool has_element(at::ScalarType dtype) { return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf; }

Element element_of(at::ScalarType dtype) {
  return dtype == at::kFloat ? Element::f32 : dtype == at::kBFloat16 ? Element::bf16 : Element::f16;
}

TileProduct::TileProduct(at::ScalarType dtype, std::int64_t dim, std::int64_t rows, std::int64_t keys,
                         Operands operands)
    : dtype_(dtype), element_(element_of(dtype)), dim_(dim), width_(strip_rows()) {
  // brgemm with an odd inner dimension gives NaN, and unpacked where it could pack it is slow.
  packed_ = dtype != at::kFloat && dim % 2 == 0 && (operands == Operands::packed || blas::could_pack(dtype));
  const std::int64_t strips = (rows + width_ - 1) / width_;
  if (packed_)
    pair_panels_.resize(strips * dim * width_);
  else
    panels_.resize(strips * dim * width_);
  if (!packed_ && dtype != at::kFloat) wide_keys_.resize(keys * dim);
}

TileProduct::~TileProduct() {
  if (packed_) blas::brgemm_release();
}

void TileProduct::set_queries(const void* rows, std::int64_t stride, std::int64_t count) {
  const std::int64_t size = dtype_ == at::kFloat ? 4 : 2;
  for (std::int64_t strip = 0; strip * width_ < count; ++strip) {
    const void* first = static_cast<const char*>(rows) + strip * width_ * stride * size;
    const std::int64_t here = std::min(width_, count - strip * width_);
    if (packed_)
      pack_pairs(first, stride, here, strip);
    else
      pack_strip(first, element_, stride, here, dim_, panels_.data() + strip * dim_ * width_);
  }
}

void TileProduct::pack_pairs(const void* rows, std::int64_t stride, std::int64_t count, std::int64_t strip) {
  std::uint16_t* panel = pair_panels_.data() + strip * dim_ * width_;
  const auto* values = static_cast<const std::uint16_t*>(rows);
  if (count < width_) std::fill_n(panel, dim_ * width_, std::uint16_t{0});
  for (std::int64_t r = 0; r < count; ++r)
    for (std::int64_t d = 0; d < dim_; ++d) panel[(d / 2 * width_ + r) * 2 + d % 2] = values[r * stride + d];
}

void TileProduct::set_keys(const void* keys, std::int64_t stride, std::int64_t count) {
  key_stride_ = stride;
  if (packed_) {
    half_keys_ = static_cast<const std::uint16_t*>(keys);
  } else if (dtype_ == at::kFloat) {
    float_keys_ = static_cast<const float*>(keys);
  } else {
    for (std::int64_t j = 0; j < count; ++j)
      widen(static_cast<const std::uint16_t*>(keys) + j * stride, element_, dim_, wide_keys_.data() + j * dim_);
    float_keys_ = wide_keys_.data();
    key_stride_ = dim_;
  }
}

void TileProduct::multiply(std::int64_t strip, std::int64_t key, std::int64_t count, float* out) const {
  if (!packed_) {
    strip_products(float_keys_ + key * key_stride_, key_stride_, count, dim_, panels_.data() + strip * dim_ * width_,
                   out);
    return;
  }
  const std::uint16_t* keys = half_keys_ + key * key_stride_;
  const std::uint16_t* panel = pair_panels_.data() + strip * dim_ * width_;
  if (dtype_ == at::kBFloat16)
    blas::brgemm(count, width_, dim_, key_stride_, width_, width_, false, reinterpret_cast<const at::BFloat16*>(keys),
                 reinterpret_cast<const at::BFloat16*>(panel), out, true);
  else
    blas::brgemm(count, width_, dim_, key_stride_, width_, width_, false, reinterpret_cast<const at::Half*>(keys),
                 reinterpret_cast<const at::Half*>(panel), out, true);
}

}  // namespace sinkscope
