#include "kernels/norms.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "kernels/scan_kernels.h"
#include "kernels/tile_product.h"

namespace sinkscope {
namespace {

void check(const at::Tensor& x) {
  if (x.dim() == 4 && x.is_floating_point()) return;
  std::ostringstream text;
  text << "norms need a floating tensor [batch, heads, tokens, dim], not " << x.scalar_type() << " " << x.sizes();
  throw InputError(text.str());
}

/// Five to ten times as fast as ATen's norm over a short last dim.
at::Tensor row_norms(const at::Tensor& x) {
  const std::int64_t vectors = x.size(1), tokens = x.size(2), dim = x.size(3);
  at::Tensor norms = at::empty({x.size(0), vectors, tokens}, at::kFloat);
  float* out = norms.mutable_data_ptr<float>();
  const Element element = element_of(x.scalar_type());
  constexpr std::int64_t kGrain = 2048;  // rows a thread must at least get
  at::parallel_for(0, norms.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t n = row / tokens,
                         offset = n / vectors * x.stride(0) + n % vectors * x.stride(1) + row % tokens * x.stride(2);
      const char* data =
          static_cast<const char*>(x.const_data_ptr()) + offset * static_cast<std::int64_t>(x.element_size());
      out[row] = static_cast<float>(std::sqrt(scan_row(data, element, dim).squares));
    }
  });
  return norms;
}

at::Tensor undefined(const at::Tensor& x) {
  return at::full({x.size(0), x.size(1)}, std::numeric_limits<double>::quiet_NaN(), x.options().dtype(at::kDouble));
}

}  // namespace

at::Tensor vector_norms(const at::Tensor& x) {
  check(x);
  if (x.is_cpu() && has_element(x.scalar_type()) && (x.stride(3) == 1 || x.size(3) == 1)) return row_norms(x);
  return at::linalg_vector_norm(x, 2, -1, false, x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

FirstAndOthers first_and_others_norms(const at::Tensor& x) {
  const at::Tensor norms = vector_norms(x);
  const auto tokens = norms.size(2);
  return {.first = tokens == 0 ? undefined(x) : norms.select(2, 0).to(at::kDouble),
          .others = tokens <= 1 ? undefined(x) : norms.narrow(2, 1, tokens - 1).mean(-1, false, at::kDouble)};
}

MeanAndLast mean_and_last_norms(const at::Tensor& x, const at::Tensor& counted) {
  const at::Tensor norms = vector_norms(x);
  const auto tokens = norms.size(2);
  if (tokens == 0) return {.mean = undefined(x), .last = undefined(x)};
  const at::Tensor last = norms.select(2, tokens - 1).to(at::kDouble);
  if (!counted.defined()) return {.mean = norms.mean(-1, false, at::kDouble), .last = last};
  const at::Tensor kept = at::where(counted, norms, at::zeros({}, norms.options()));  // others may be NaN
  return {.mean = kept.sum(-1, false, at::kDouble) / counted.sum(-1), .last = last};
}

}  // namespace sinkscope
