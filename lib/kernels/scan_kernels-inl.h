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

#include "kernels/scan_kernels.h"

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

/// out[j] = row . key_j for kKeys keys: each piece of the row is widened once.
template <int kKeys, class T>
HWY_INLINE void few_dots(const T* row, std::int64_t dim, const float* keys, float* out) {
  const ScanFloats d;
  const auto n = static_cast<std::int64_t>(hn::Lanes(d));
  ScanVec sum[kKeys];
  HWY_UNROLL(4)
  for (int j = 0; j < kKeys; ++j) sum[j] = hn::Zero(d);
  std::int64_t x = 0;
  for (; x + n <= dim; x += n) {
    const ScanVec part = load_wide(row + x);
    HWY_UNROLL(4)
    for (int j = 0; j < kKeys; ++j) sum[j] = hn::MulAdd(part, hn::LoadU(d, keys + j * dim + x), sum[j]);
  }
  if (x < dim) {
    const ScanVec part = load_rest(row + x, dim - x);
    HWY_UNROLL(4)
    for (int j = 0; j < kKeys; ++j) sum[j] = hn::MulAdd(part, load_rest(keys + j * dim + x, dim - x), sum[j]);
  }
  HWY_UNROLL(4)
  for (int j = 0; j < kKeys; ++j) out[j] = hn::GetLane(hn::SumOfLanes(d, sum[j]));
}

template <class T>
void few_key_products_of(const T* rows, std::int64_t stride, std::int64_t count, std::int64_t dim, const float* keys,
                         std::int64_t key_count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t j = 0;
    for (; j + 4 <= key_count; j += 4) few_dots<4>(rows + i * stride, dim, keys + j * dim, out + i * key_count + j);
    for (; j < key_count; ++j) few_dots<1>(rows + i * stride, dim, keys + j * dim, out + i * key_count + j);
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
