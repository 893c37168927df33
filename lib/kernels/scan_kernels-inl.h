// The bodies of scan_kernels.h for one instruction set.
#if defined(SINKSCOPE_SCAN_KERNELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKSCOPE_SCAN_KERNELS_INL_H_
#undef SINKSCOPE_SCAN_KERNELS_INL_H_
#else
#define SINKSCOPE_SCAN_KERNELS_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/scan_kernels.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using ScanFloats = hn::CappedTag<float, kMaxColumnLanes>;
using ScanVec = hn::Vec<ScanFloats>;

HWY_INLINE ScanVec load_wide(const float* from) { return hn::LoadU(ScanFloats(), from); }
HWY_INLINE ScanVec load_wide(const hwy::bfloat16_t* from) {
  return hn::PromoteTo(ScanFloats(), hn::LoadU(hn::Rebind<hwy::bfloat16_t, ScanFloats>(), from));
}
HWY_INLINE ScanVec load_wide(const hwy::float16_t* from) {
  return hn::PromoteTo(ScanFloats(), hn::LoadU(hn::Rebind<hwy::float16_t, ScanFloats>(), from));
}

/// The last `count` elements, fewer than a vector, followed by zeros.
template <class T>
HWY_INLINE ScanVec load_rest(const T* from, std::int64_t count) {
  T rest[kMaxColumnLanes] = {};
  std::memcpy(rest, from, static_cast<std::size_t>(count) * sizeof(T));
  return load_wide(rest);
}

/// Elements as float32: float rows stay where they are, others are widened into `scratch`.
HWY_INLINE const float* widened(const float* row, std::int64_t, float*) { return row; }
template <class T>
HWY_INLINE const float* widened(const T* row, std::int64_t count, float* scratch) {
  const ScanFloats d;
  const auto n = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t x = 0;
  for (; x + n <= count; x += n) hn::StoreU(load_wide(row + x), d, scratch + x);
  if (x < count) {
    float rest[kMaxColumnLanes];
    hn::StoreU(load_rest(row + x, count - x), d, rest);
    std::memcpy(scratch + x, rest, static_cast<std::size_t>(count - x) * sizeof(float));
  }
  return scratch;
}

/// A lane is a key: the elements of a row are broadcast, so that no sum over lanes is needed.
template <class T>
void few_key_products_of(const T* rows, std::int64_t stride, std::int64_t count, std::int64_t dim, const float* keys,
                         std::int64_t key_count, float* out) {
  constexpr int kRows = 8;  // independent sums hide the latency of an addition
  const ScanFloats d;
  const auto n = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t out_stride = few_key_stride(key_count);
  std::vector<float> packed(static_cast<std::size_t>(dim * n)), wide(static_cast<std::size_t>(kRows * dim));
  for (std::int64_t first = 0; first < out_stride; first += n) {
    for (std::int64_t x = 0; x < dim; ++x)
      for (std::int64_t j = 0; j < n; ++j)
        packed[static_cast<std::size_t>(x * n + j)] = first + j < key_count ? keys[(first + j) * dim + x] : 0;
    for (std::int64_t i = 0; i < count; i += kRows) {
      const float* row[kRows];
      ScanVec sum[kRows];
      HWY_UNROLL(kRows)
      for (int r = 0; r < kRows; ++r) {
        row[r] = widened(rows + HWY_MIN(i + r, count - 1) * stride, dim, wide.data() + r * dim);
        sum[r] = hn::Zero(d);
      }
      for (std::int64_t x = 0; x < dim; ++x) {
        const ScanVec key = hn::LoadU(d, packed.data() + x * n);
        HWY_UNROLL(kRows)
        for (int r = 0; r < kRows; ++r) sum[r] = hn::MulAdd(hn::Set(d, row[r][x]), key, sum[r]);
      }
      HWY_UNROLL(kRows)
      for (int r = 0; r < kRows; ++r)
        if (i + r < count) hn::StoreU(sum[r], d, out + (i + r) * out_stride + first);
    }
  }
}

void few_key_products_here(const void* rows, Element element, std::int64_t stride, std::int64_t count, std::int64_t dim,
                           const float* keys, std::int64_t key_count, float* out) {
  if (element == Element::f32)
    few_key_products_of(static_cast<const float*>(rows), stride, count, dim, keys, key_count, out);
  else if (element == Element::bf16)
    few_key_products_of(static_cast<const hwy::bfloat16_t*>(rows), stride, count, dim, keys, key_count, out);
  else
    few_key_products_of(static_cast<const hwy::float16_t*>(rows), stride, count, dim, keys, key_count, out);
}

#if HWY_TARGET == HWY_SCALAR
void few_probabilities_here(float* values, std::int64_t count, std::int64_t stride, const float* lse, double scale) {
  for (std::int64_t i = 0; i < count * stride; ++i)
    values[i] = std::exp(static_cast<float>(scale * values[i] - static_cast<double>(lse[i / stride])));
}
#else
/// The difference is taken in float64, where the logit and the log-sum-exp are large.
void few_probabilities_here(float* values, std::int64_t count, std::int64_t stride, const float* lse, double scale) {
  constexpr double kLog2E = 1.4426950408889634;
  const ScanFloats d;
  const hn::Half<ScanFloats> half;
  const hn::Rebind<double, hn::Half<ScanFloats>> wide;
  const auto n = static_cast<std::int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(wide, scale * kLog2E);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto offset = hn::Set(wide, static_cast<double>(lse[i]) * kLog2E);
    for (float* at = values + i * stride; at < values + (i + 1) * stride; at += n) {
      const ScanVec product = hn::LoadU(d, at);
      const auto low = hn::MulSub(hn::PromoteTo(wide, hn::LowerHalf(half, product)), factor, offset);
      const auto high = hn::MulSub(hn::PromoteTo(wide, hn::UpperHalf(half, product)), factor, offset);
      const ScanVec power = hn::Combine(d, hn::DemoteTo(half, high), hn::DemoteTo(half, low));
      const ScanVec p = exp2_from(d, at_least(hn::Set(d, kSmallestExponent), power));
      const ScanVec tiny = hn::IfThenZeroElse(hn::Lt(power, hn::Set(d, kSmallestExponent)), p);
      hn::StoreU(hn::IfThenElse(hn::Gt(power, hn::Set(d, 126.0F)), hn::Inf(d), tiny), d, at);
    }
  }
}
#endif

std::int64_t lower_halves_here(const std::uint32_t* bits, std::int64_t count, std::uint32_t upper, std::uint32_t* out) {
  const hn::RebindToUnsigned<ScanFloats> d;
  const auto n = static_cast<std::int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(d, upper << 16), magnitude = hn::Set(d, 0x7fff0000U), lower = hn::Set(d, 0xffffU);
  std::int64_t found = 0, i = 0;
  for (; i + n <= count; i += n) {
    const auto x = hn::LoadU(d, bits + i);
    const auto match = hn::Eq(hn::And(x, magnitude), wanted);
    if (!hn::AllFalse(d, match))
      found += static_cast<std::int64_t>(hn::CompressStore(hn::And(x, lower), match, d, out + found));
  }
  for (; i < count; ++i)
    if ((bits[i] & 0x7fff0000U) == upper << 16) out[found++] = bits[i] & 0xffffU;
  return found;
}

/// In float64, for pieces whose squares leave the range of float32.
template <class T>
HWY_NOINLINE double squares_in_double(const T* row, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double x = hn::GetLane(load_rest(row + i, 1));
    sum += x * x;
  }
  return sum;
}

template <class T>
RowScan scan_row_of(const T* row, std::int64_t count) {
  constexpr std::int64_t kPiece = 1024;  // added up in float32, at most 64 terms a lane
  const ScanFloats d;
  const auto n = static_cast<std::int64_t>(hn::Lanes(d));
  RowScan scan;
  ScanVec most = hn::Zero(d);
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t end = HWY_MIN(begin + kPiece, count);
    ScanVec sum = hn::Zero(d), other = hn::Zero(d);
    std::int64_t i = begin;
    for (; i + 2 * n <= end; i += 2 * n) {
      const ScanVec a = load_wide(row + i), b = load_wide(row + i + n);
      sum = hn::MulAdd(a, a, sum);
      other = hn::MulAdd(b, b, other);
      most = hn::Max(most, hn::Max(hn::Abs(a), hn::Abs(b)));
    }
    for (; i < end; i += n) {
      const ScanVec a = i + n <= end ? load_wide(row + i) : load_rest(row + i, end - i);
      sum = hn::MulAdd(a, a, sum);
      most = hn::Max(most, hn::Abs(a));
    }
    const double squares = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, other)));
    const bool in_range = squares > 1e-25 && squares < 1e37;
    scan.squares += in_range ? squares : squares_in_double(row + begin, end - begin);
  }
  scan.largest = hn::GetLane(hn::MaxOfLanes(d, most));
  return scan;
}

RowScan scan_row_here(const void* row, Element element, std::int64_t count) {
  if (element == Element::f32) return scan_row_of(static_cast<const float*>(row), count);
  if (element == Element::bf16) return scan_row_of(static_cast<const hwy::bfloat16_t*>(row), count);
  return scan_row_of(static_cast<const hwy::float16_t*>(row), count);
}

}  // namespace HWY_NAMESPACE
}  // namespace sinkscope
HWY_AFTER_NAMESPACE();

#endif
