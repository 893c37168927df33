#include "observe/sdpa_forward.h"

#include <ATen/SDPBackend.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

namespace sinkscope {
namespace {

/// As the composite operator: a bool mask becomes 0 and `hidden` in the query's dtype.
std::optional<at::Tensor> additive_mask(const SdpaArguments& a,
                                        double hidden = -std::numeric_limits<double>::infinity()) {
  if (!a.mask || a.mask->scalar_type() != at::kBool) return a.mask;
  const at::Tensor zero = at::zeros({}, a.query.options());
  return at::where(*a.mask, zero, at::Scalar(hidden));
}

/// As the composite operator for efficient attention: [B, H, Q, K], expanded, whose rows start at multiples of 8
/// elements.
std::optional<at::Tensor> aligned_mask(const SdpaArguments& a) {
  if (!a.mask) return std::nullopt;
  constexpr std::int64_t kAlignment = 8;
  at::Tensor mask = *additive_mask(a);
  bool aligned = mask.stride(-1) == 1;
  for (std::int64_t dim = 0; dim + 1 < mask.dim(); ++dim) aligned = aligned && mask.stride(dim) % kAlignment == 0;
  const std::int64_t keys = mask.size(-1);
  if (!aligned) mask = at::pad(mask, {0, kAlignment - keys % kAlignment}).narrow(-1, 0, keys);
  return mask.expand({a.query.size(0), a.query.size(1), a.query.size(2), a.key.size(2)});
}

/// What the composite operator writes for cuDNN where a bool mask hides a pair.
constexpr double kHiddenByCudnn = -65504;

/// Pads the head dim to a multiple of 8, as the composite operator does on CUDA.
at::Tensor padded(const at::Tensor& x) {
  const std::int64_t rest = x.size(-1) % 8;
  return rest == 0 ? x : at::pad(x, {0, 8 - rest});
}

SdpaResult on_cuda(const SdpaArguments& a, at::SDPBackend backend) {
  const std::int64_t dim = a.query.size(-1), rows = a.query.size(2);
  const double scale = a.scale.value_or(1 / std::sqrt(static_cast<double>(dim)));
  if (backend == at::SDPBackend::flash_attention) {  // takes no mask
    const auto result = at::_scaled_dot_product_flash_attention(padded(a.query), padded(a.key), padded(a.value),
                                                                a.dropout, a.is_causal, false, scale);
    const at::Tensor output = std::get<0>(result);
    return {output.size(-1) == dim ? output : output.narrow(-1, 0, dim), std::get<1>(result).narrow(2, 0, rows)};
  }
  if (backend == at::SDPBackend::efficient_attention) {
    const auto result = at::_scaled_dot_product_efficient_attention(a.query, a.key, a.value, aligned_mask(a), true,
                                                                    a.dropout, a.is_causal, a.scale);
    return {std::get<0>(result), std::get<1>(result).narrow(2, 0, rows)};  // its LSE is padded to multiples of 32
  }
  if (backend == at::SDPBackend::cudnn_attention) {
    const auto result = at::_scaled_dot_product_cudnn_attention(
        a.query, a.key, a.value, additive_mask(a, kHiddenByCudnn), true, a.dropout, a.is_causal, false, a.scale);
    at::Tensor lse = std::get<1>(result);
    if (lse.dim() == 4) lse = lse.squeeze(-1);
    return {std::get<0>(result), lse.narrow(2, 0, rows)};
  }
  return {sdpa_composite(a), {}};
}

}  // namespace

at::Tensor sdpa_composite(const SdpaArguments& a) {
  return at::scaled_dot_product_attention(a.query, a.key, a.value, a.mask, a.dropout, a.is_causal, a.scale,
                                          a.enable_gqa);
}

SdpaResult sdpa_forward(const SdpaArguments& a) {
  if (a.query.dim() != 4) return {sdpa_composite(a), {}};
  const auto backend = static_cast<at::SDPBackend>(
      at::_fused_sdp_choice(a.query, a.key, a.value, a.mask, a.dropout, a.is_causal, a.scale, a.enable_gqa));
  if (a.query.is_cuda()) return on_cuda(a, backend);
  if (!a.query.is_cpu() || backend != at::SDPBackend::flash_attention) return {sdpa_composite(a), {}};
  auto [output, lse] = at::_scaled_dot_product_flash_attention_for_cpu(a.query, a.key, a.value, a.dropout, a.is_causal,
                                                                       additive_mask(a), a.scale);
  return {std::move(output), std::move(lse)};
}

}  // namespace sinkscope
