#include "model/own_buffer.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <span>
#include <vector>

#include "files/element_values.h"

namespace sinkscope {
namespace {

constexpr double kUnits = 4;
constexpr double kSmallestHalf = 0x1p-24;

/// Undefined for a dtype that has no numbers.
at::Tensor tensor_of(const TensorView& view) {
  if (view.dtype == "I64") {  // not every one is a double
    const at::Tensor exact = at::empty(view.shape, at::kLong);
    view.read(0, std::as_writable_bytes(std::span(exact.mutable_data_ptr<std::int64_t>(), view.bytes.size() / 8)));
    return exact;
  }
  const auto values = values_of(view, 0, static_cast<std::size_t>(view.elements()));
  return values ? at::tensor(*values, at::kDouble).reshape(view.shape) : at::Tensor();
}

double rounding_of(const at::Tensor& own) {
  switch (own.scalar_type()) {
    case at::kHalf:
      return epsilon_of("F16");
    case at::kBFloat16:
      return epsilon_of("BF16");
    case at::kFloat:
      return epsilon_of("F32");
    default:
      return 0;
  }
}

bool is_table(LegacyTensor kind) { return kind == LegacyTensor::rotary || kind == LegacyTensor::sinusoids; }

/// The dims, from the last one on, along which a longer model has more of the same.
std::vector<std::int64_t> dims_of_length(const std::optional<LegacyTensor>& kind) {
  if (!kind) return {};
  if (is_table(*kind)) return {-2};
  if (*kind == LegacyTensor::mask) return {-2, -1};
  if (*kind == LegacyTensor::positions || *kind == LegacyTensor::types) return {-1};
  return {};
}

}  // namespace

bool agrees_with_own(const TensorView& tensor, const std::optional<LegacyTensor>& kind, const at::Tensor& own) {
  if (kind == LegacyTensor::batches) return true;  // read in training only
  at::Tensor there = tensor_of(tensor), here = own.detach().to(at::kCPU);
  if (!there.defined() || there.dim() != here.dim()) return false;
  if (kind == LegacyTensor::mask_value) return is_mask_value(here.item<double>());
  for (const std::int64_t dim : dims_of_length(kind)) {
    const std::int64_t size = std::min(there.size(dim), here.size(dim));
    there = there.narrow(dim, 0, size), here = here.narrow(dim, 0, size);
  }
  if (there.sizes() != here.sizes()) return false;
  if (there.scalar_type() == at::kLong && !here.is_floating_point()) return at::equal(there, here.to(at::kLong));
  const double epsilon = std::max(epsilon_of(tensor.dtype), rounding_of(here));
  double absolute = tensor.dtype == "F16" || here.scalar_type() == at::kHalf ? kUnits * kSmallestHalf : 0;
  // Of tables the angles were rounded too, in float32: by more, the larger the position.
  if (kind && is_table(*kind)) absolute += kUnits * (epsilon + epsilon_of("F32") * static_cast<double>(here.size(-2)));
  return at::allclose(there.to(at::kDouble), here.to(at::kDouble), kUnits * epsilon, absolute, /*equal_nan=*/true);
}

}  // namespace sinkscope
