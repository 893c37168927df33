// The bodies of tile_kernels.h for one instruction set.
#if defined(SINKSCOPE_TILE_KERNELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKSCOPE_TILE_KERNELS_INL_H_
#undef SINKSCOPE_TILE_KERNELS_INL_H_
#else
#define SINKSCOPE_TILE_KERNELS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/tile_kernels.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkscope {
namespace HWY_NAMESPACE {

using Floats = hn::CappedTag<float, kMaxColumnLanes>;
using Ints = hn::RebindToSigned<Floats>;
using FloatVec = hn::Vec<Floats>;

// Vectors in a strip and keys in a block of products: as many accumulators as there are registers for (24 of 32, 8 of
// 16).
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
constexpr int kVectors = 4, kKeyBlock = 6;
#else
constexpr int kVectors = 2, kKeyBlock = 4;
#endif

inline std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(Floats())); }
inline std::int64_t strip_rows_here() { return kVectors * lanes(); }
inline const char* instruction_set_here() { return hwy::TargetName(HWY_TARGET); }

/// A whole vector of 16-bit values, widened.
template <class Half>
HWY_INLINE FloatVec widened(const Half* from) {
  const Floats d;
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<Half, Floats>(), from));
}

template <class Half>
HWY_INLINE void widen_half(const Half* from, std::int64_t count, float* to) {
  const Floats d;
  std::int64_t i = 0;
  for (; i + lanes() <= count; i += lanes()) hn::StoreU(widened(from + i), d, to + i);
  if (i == count) return;
  Half rest[kMaxColumnLanes] = {};
  std::memcpy(rest, from + i, static_cast<std::size_t>(count - i) * sizeof(Half));
  float wide[kMaxColumnLanes];
  hn::StoreU(widened(rest), d, wide);
  std::memcpy(to + i, wide, static_cast<std::size_t>(count - i) * sizeof(float));
}

void widen_here(const void* from, Element element, std::int64_t count, float* to) {
  if (element == Element::f32)
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
  else if (element == Element::bf16)
    widen_half(static_cast<const hwy::bfloat16_t*>(from), count, to);
  else
    widen_half(static_cast<const hwy::float16_t*>(from), count, to);
}

void pack_strip_here(const void* rows, Element element, std::int64_t stride, std::int64_t count, std::int64_t dim,
                     float* panel) {
  constexpr std::int64_t kPiece = 64;
  const std::int64_t width = strip_rows_here(), size = element == Element::f32 ? 4 : 2;
  float wide[kPiece];
  for (std::int64_t r = 0; r < width; ++r) {
    for (std::int64_t begin = 0; begin < dim; begin += kPiece) {
      const std::int64_t piece = HWY_MIN(kPiece, dim - begin);
      if (r < count)
        widen_here(static_cast<const char*>(rows) + (r * stride + begin) * size, element, piece, wide);
      else
        std::memset(wide, 0, sizeof(wide));
      for (std::int64_t i = 0; i < piece; ++i) panel[(begin + i) * width + r] = wide[i];
    }
  }
}

/// out[j, :] = key_j . panel for kKeys keys.
template <int kKeys>
HWY_INLINE void product_block(const float* keys, std::int64_t stride, std::int64_t dim, const float* panel,
                              float* out) {
  const Floats d;
  const std::int64_t n = lanes(), width = strip_rows_here();
  FloatVec sum[kKeys][kVectors];
  HWY_UNROLL(8)
  for (int j = 0; j < kKeys; ++j) {
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) sum[j][v] = hn::Zero(d);
  }
  for (std::int64_t i = 0; i < dim; ++i) {
    FloatVec query[kVectors];
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) query[v] = hn::LoadU(d, panel + i * width + v * n);
    HWY_UNROLL(8)
    for (int j = 0; j < kKeys; ++j) {
      const FloatVec key = hn::Set(d, keys[j * stride + i]);
      HWY_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[j][v] = hn::MulAdd(key, query[v], sum[j][v]);
    }
  }
  HWY_UNROLL(8)
  for (int j = 0; j < kKeys; ++j) {
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[j][v], d, out + j * width + v * n);
  }
}

void strip_products_here(const float* keys, std::int64_t stride, std::int64_t count, std::int64_t dim,
                         const float* panel, float* out) {
  const std::int64_t width = strip_rows_here();
  std::int64_t j = 0;
  for (; j + kKeyBlock <= count; j += kKeyBlock)
    product_block<kKeyBlock>(keys + j * stride, stride, dim, panel, out + j * width);
  if (j + kKeyBlock / 2 <= count) {
    product_block<kKeyBlock / 2>(keys + j * stride, stride, dim, panel, out + j * width);
    j += kKeyBlock / 2;
  }
  for (; j < count; ++j) product_block<1>(keys + j * stride, stride, dim, panel, out + j * width);
}

/// (total, rest) += x, where rest collects what the addition rounds away (Knuth's TwoSum).
HWY_INLINE void add_compensated(FloatVec x, float* total, float* rest) {
  const Floats d;
  const FloatVec old = hn::LoadU(d, total), sum = hn::Add(old, x), part = hn::Sub(sum, old);
  const FloatVec error = hn::Add(hn::Sub(old, hn::Sub(sum, part)), hn::Sub(x, part));
  hn::StoreU(sum, d, total);
  hn::StoreU(hn::Add(hn::LoadU(d, rest), error), d, rest);
}

/// Lanes of rows that do not see key `j` of the tile.
HWY_INLINE auto hidden_rows(const StripMask& mask, std::int64_t j, std::int64_t lane) {
  const Ints di;
  const auto key = hn::Set(di, static_cast<std::int32_t>(j));
  return hn::RebindMask(
      Floats(), hn::Or(hn::Lt(key, hn::LoadU(di, mask.first + lane)), hn::Gt(key, hn::LoadU(di, mask.last + lane))));
}

template <bool kSoftcap, bool kRowMask>
HWY_INLINE void strip_statistics_as(const StripScore& score, const float* products, std::int64_t stride,
                                    std::int64_t count, const StripMask& mask, const StripRows& rows, float* columns) {
  const Floats d;
  const std::int64_t n = lanes();
  const FloatVec scale = hn::Set(d, score.scale), cap_scale = hn::Set(d, score.cap_scale);
  const FloatVec lowest = hn::Set(d, kSmallestExponent);
  const FloatVec nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  FloatVec centre[kVectors], shift[kVectors], most[kVectors], sum[kVectors], weighted[kVectors];
  HWY_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) {
    centre[v] = hn::LoadU(d, rows.centre + v * n);
    shift[v] = hn::LoadU(d, rows.shift + v * n);
    most[v] = hn::LoadU(d, rows.max + v * n);
    sum[v] = weighted[v] = hn::Zero(d);
  }
  for (std::int64_t j = 0; j < count; ++j) {
    if (mask.key_visible && !mask.key_visible[j]) continue;
    FloatVec column = hn::LoadU(d, columns + j * n);
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      FloatVec x = hn::LoadU(d, products + j * stride + v * n);
      if (kSoftcap) x = tanh_of(d, hn::Mul(x, cap_scale));
      FloatVec t = hn::MulAdd(hn::Sub(x, centre[v]), scale, shift[v]);
      if (kRowMask) {
        const auto invisible = hidden_rows(mask, j, v * n);
        most[v] = hn::Max(most[v], hn::IfThenElse(invisible, nothing, t));
        t = hn::IfThenElse(invisible, lowest, at_least(lowest, t));  // a hidden NaN must not reach the sums
        const FloatVec p = hn::IfThenZeroElse(invisible, exp2_from(d, t));
        column = hn::Add(column, p);
        sum[v] = hn::Add(sum[v], p);
        weighted[v] = hn::MulAdd(p, t, weighted[v]);
      } else {
        most[v] = hn::Max(most[v], t);  // before the clamp: a learned sink may hold nearly all mass
        t = at_least(lowest, t);
        const FloatVec p = exp2_from(d, t);
        column = hn::Add(column, p);
        sum[v] = hn::Add(sum[v], p);
        weighted[v] = hn::MulAdd(p, t, weighted[v]);
      }
    }
    hn::StoreU(column, d, columns + j * n);
  }
  HWY_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) {
    hn::StoreU(most[v], d, rows.max + v * n);
    add_compensated(sum[v], rows.sum + v * n, rows.sum_rest + v * n);
    add_compensated(weighted[v], rows.weighted + v * n, rows.weighted_rest + v * n);
  }
}

void strip_statistics_here(const StripScore& score, const float* products, std::int64_t stride, std::int64_t count,
                           const StripMask& mask, const StripRows& rows, float* columns) {
  if (score.softcap)
    mask.first ? strip_statistics_as<true, true>(score, products, stride, count, mask, rows, columns)
               : strip_statistics_as<true, false>(score, products, stride, count, mask, rows, columns);
  else
    mask.first ? strip_statistics_as<false, true>(score, products, stride, count, mask, rows, columns)
               : strip_statistics_as<false, false>(score, products, stride, count, mask, rows, columns);
}

/// First the largest logit, so that every exponent of the tile is taken from one that is known.
template <bool kSoftcap, bool kRowMask>
HWY_INLINE void strip_exp_sums_as(const StripScore& score, float* products, std::int64_t stride, std::int64_t count,
                                  const StripMask& mask, const StripExpSums& rows) {
  const Floats d;
  const std::int64_t n = lanes();
  const FloatVec sign = hn::Set(d, score.scale < 0 ? -1.0F : 1.0F), scale = hn::Abs(hn::Set(d, score.scale));
  const FloatVec cap_scale = hn::Set(d, score.cap_scale), lowest = hn::Set(d, kSmallestExponent);
  const FloatVec nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  FloatVec top[kVectors], sum[kVectors];
  HWY_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) {
    top[v] = hn::LoadU(d, rows.top + v * n);
    sum[v] = hn::Zero(d);
  }
  for (std::int64_t j = 0; j < count; ++j) {
    if (mask.key_visible && !mask.key_visible[j]) continue;
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      FloatVec x = hn::LoadU(d, products + j * stride + v * n);
      if (kSoftcap) x = tanh_of(d, hn::Mul(x, cap_scale));
      x = hn::Mul(x, sign);
      if (kRowMask) x = hn::IfThenElse(hidden_rows(mask, j, v * n), nothing, x);
      hn::StoreU(x, d, products + j * stride + v * n);
      top[v] = hn::Max(top[v], x);
    }
  }
  FloatVec base[kVectors];  // finite where no key was seen, and then never used
  HWY_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) {
    base[v] = hn::IfThenZeroElse(hn::Eq(top[v], nothing), top[v]);
    const FloatVec before = hn::LoadU(d, rows.top + v * n);
    const FloatVec t = hn::IfThenElse(hn::Eq(before, nothing), lowest, hn::Mul(hn::Sub(before, base[v]), scale));
    const FloatVec shrink = exp2_from(d, at_least(lowest, t));
    hn::StoreU(hn::Mul(hn::LoadU(d, rows.sum + v * n), shrink), d, rows.sum + v * n);
    hn::StoreU(hn::Mul(hn::LoadU(d, rows.sum_rest + v * n), shrink), d, rows.sum_rest + v * n);
    hn::StoreU(top[v], d, rows.top + v * n);
  }
  for (std::int64_t j = 0; j < count; ++j) {
    if (mask.key_visible && !mask.key_visible[j]) continue;
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      const FloatVec x = hn::LoadU(d, products + j * stride + v * n);
      const FloatVec p = exp2_from(d, at_least(lowest, hn::Mul(hn::Sub(x, base[v]), scale)));
      sum[v] = hn::Add(sum[v], kRowMask ? hn::IfThenZeroElse(hn::Eq(x, nothing), p) : p);
    }
  }
  HWY_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) add_compensated(sum[v], rows.sum + v * n, rows.sum_rest + v * n);
}

void strip_exp_sums_here(const StripScore& score, float* products, std::int64_t stride, std::int64_t count,
                         const StripMask& mask, const StripExpSums& rows) {
  if (score.softcap)
    mask.first ? strip_exp_sums_as<true, true>(score, products, stride, count, mask, rows)
               : strip_exp_sums_as<true, false>(score, products, stride, count, mask, rows);
  else
    mask.first ? strip_exp_sums_as<false, true>(score, products, stride, count, mask, rows)
               : strip_exp_sums_as<false, false>(score, products, stride, count, mask, rows);
}

void add_columns_here(const float* columns, std::int64_t count, double* total) {
  const Floats d;
  for (std::int64_t j = 0; j < count; ++j)
    total[j] += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::LoadU(d, columns + j * lanes()))));
}

void exp2_values_here(const float* x, std::int64_t count, float* out) {
  const hn::CappedTag<float, 1> one;
  for (std::int64_t i = 0; i < count; ++i)
    hn::StoreU(exp2_from(one, at_least(hn::Set(one, kSmallestExponent), hn::LoadU(one, x + i))), one, out + i);
}

void tanh_values_here(const float* x, std::int64_t count, float* out) {
  const hn::CappedTag<float, 1> one;
  for (std::int64_t i = 0; i < count; ++i) hn::StoreU(tanh_of(one, hn::LoadU(one, x + i)), one, out + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace sinkscope
HWY_AFTER_NAMESPACE();

#endif
