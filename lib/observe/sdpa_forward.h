#pragma once
// Scaled dot-product attention that also gives its log-sum-exp.

#include <ATen/core/Tensor.h>

#include <optional>

namespace sinkscope {

struct SdpaArguments {
  at::Tensor query, key, value;
  std::optional<at::Tensor> mask;
  double dropout = 0;
  bool is_causal = false;
  std::optional<double> scale;
  bool enable_gqa = false;
};

struct SdpaResult {
  at::Tensor output;  ///< bit-identical to at::scaled_dot_product_attention of the same arguments
  at::Tensor lse;     ///< [B, H, Q] float32, natural log; undefined where the backend gives none
};

/// The operator itself.
at::Tensor sdpa_composite(const SdpaArguments& arguments);

/// Dispatches as the composite operator does (same backend, same padding, same mask conversion), by the low-level
/// operator that returns the log-sum-exp. Any other backend: the composite operator, no log-sum-exp. See
/// docs/design.md.
SdpaResult sdpa_forward(const SdpaArguments& arguments);

}  // namespace sinkscope
