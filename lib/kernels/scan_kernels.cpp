// Included again by foreach_target.h, once for every instruction set; this file holds the dispatch alone.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scan_kernels.cpp"
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/scan_kernels-inl.h"

#if HWY_ONCE
namespace sinkscope {

HWY_EXPORT(few_key_products_here);
HWY_EXPORT(few_probabilities_here);
HWY_EXPORT(lower_halves_here);
HWY_EXPORT(scan_row_here);

void few_key_products(const void* rows, Element element, std::int64_t stride, std::int64_t count, std::int64_t dim,
                      const float* keys, std::int64_t key_count, float* out) {
  HWY_DYNAMIC_DISPATCH(few_key_products_here)(rows, element, stride, count, dim, keys, key_count, out);
}

void few_probabilities(float* values, std::int64_t count, std::int64_t stride, const float* lse, double scale) {
  HWY_DYNAMIC_DISPATCH(few_probabilities_here)(values, count, stride, lse, scale);
}

std::int64_t lower_halves(const std::uint32_t* bits, std::int64_t count, std::uint32_t upper, std::uint32_t* out) {
  return HWY_DYNAMIC_DISPATCH(lower_halves_here)(bits, count, upper, out);
}

RowScan scan_row(const void* row, Element element, std::int64_t count) {
  return HWY_DYNAMIC_DISPATCH(scan_row_here)(row, element, count);
}

}  // namespace sinkscope
#endif
