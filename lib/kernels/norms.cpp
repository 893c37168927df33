#include "kernels/norms.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>

#include <limits>
#include <sstream>

#include "base/error.h"

namespace sinkscope {
namespace {

void check(const at::Tensor& x) {
  if (x.dim() == 4 && x.is_floating_point()) return;
  std::ostringstream text;
  text << "norms need a floating tensor [batch, heads, tokens, dim], not " << x.scalar_type() << " " << x.sizes();
  throw InputError(text.str());
}

at::Tensor undefined(const at::Tensor& x) {
  return at::full({x.size(0), x.size(1)}, std::numeric_limits<double>::quiet_NaN(), x.options().dtype(at::kDouble));
}

}  // namespace

at::Tensor vector_norms(const at::Tensor& x) {
  check(x);
  return at::linalg_vector_norm(x, 2, -1, false, x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

FirstAndOthers first_and_others_norms(const at::Tensor& x) {
  const at::Tensor norms = vector_norms(x);
  const auto tokens = norms.size(2);
  return {.first = tokens == 0 ? undefined(x) : norms.select(2, 0).to(at::kDouble),
          .others = tokens <= 1 ? undefined(x) : norms.narrow(2, 1, tokens - 1).mean(-1, false, at::kDouble)};
}

MeanAndLast mean_and_last_norms(const at::Tensor& x) {
  const at::Tensor norms = vector_norms(x);
  const auto tokens = norms.size(2);
  if (tokens == 0) return {.mean = undefined(x), .last = undefined(x)};
  return {.mean = norms.mean(-1, false, at::kDouble), .last = norms.select(2, tokens - 1).to(at::kDouble)};
}

}  // namespace sinkscope
