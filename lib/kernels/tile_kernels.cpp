// Included again by foreach_target.h, once for every instruction set; this file holds the dispatch alone.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tile_kernels.cpp"
// Below SSE4 (x86 before 2008) nothing is worth its code size.
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/tile_kernels-inl.h"

#if HWY_ONCE
#include <cstring>
#include <vector>

namespace sinkscope {

HWY_EXPORT(strip_rows_here);
HWY_EXPORT(lanes);
HWY_EXPORT(instruction_set_here);
HWY_EXPORT(widen_here);
HWY_EXPORT(pack_strip_here);
HWY_EXPORT(strip_products_here);
HWY_EXPORT(strip_statistics_here);
HWY_EXPORT(strip_exp_sums_here);
HWY_EXPORT(add_columns_here);
HWY_EXPORT(exp2_values_here);
HWY_EXPORT(tanh_values_here);

std::int64_t strip_rows() { return HWY_DYNAMIC_DISPATCH(strip_rows_here)(); }
std::int64_t column_lanes() { return HWY_DYNAMIC_DISPATCH(lanes)(); }
const char* instruction_set() { return HWY_DYNAMIC_DISPATCH(instruction_set_here)(); }

void widen(const void* from, Element element, std::int64_t count, float* to) {
  HWY_DYNAMIC_DISPATCH(widen_here)(from, element, count, to);
}

void pack_strip(const void* rows, Element element, std::int64_t stride, std::int64_t count, std::int64_t dim,
                float* panel) {
  HWY_DYNAMIC_DISPATCH(pack_strip_here)(rows, element, stride, count, dim, panel);
}

void strip_products(const float* keys, std::int64_t stride, std::int64_t count, std::int64_t dim, const float* panel,
                    float* out) {
  HWY_DYNAMIC_DISPATCH(strip_products_here)(keys, stride, count, dim, panel, out);
}

void strip_statistics(const StripScore& score, const float* products, std::int64_t stride, std::int64_t count,
                      const StripMask& mask, const StripRows& rows, float* columns) {
  HWY_DYNAMIC_DISPATCH(strip_statistics_here)(score, products, stride, count, mask, rows, columns);
}

void strip_exp_sums(const StripScore& score, float* products, std::int64_t stride, std::int64_t count,
                    const StripMask& mask, const StripExpSums& rows) {
  HWY_DYNAMIC_DISPATCH(strip_exp_sums_here)(score, products, stride, count, mask, rows);
}

void add_columns(const float* columns, std::int64_t count, double* total) {
  HWY_DYNAMIC_DISPATCH(add_columns_here)(columns, count, total);
}

void exp2_values(const float* x, std::int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(exp2_values_here)(x, count, out);
}
void tanh_values(const float* x, std::int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(tanh_values_here)(x, count, out);
}

std::vector<std::string_view> instruction_sets() {
  std::vector<std::string_view> names;
  for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1)
    names.emplace_back(hwy::TargetName(rest & -rest));
  return names;
}

void restrict_instruction_set(std::string_view name) {
  hwy::SetSupportedTargetsForTest(0);
  for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0 && !name.empty(); rest &= rest - 1)
    if (name == hwy::TargetName(rest & -rest)) {
      hwy::SetSupportedTargetsForTest(rest & -rest);
      break;
    }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace sinkscope
#endif
