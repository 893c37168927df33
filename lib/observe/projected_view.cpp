#include "observe/projected_view.h"

#include <ATen/Functions.h>

#include <cmath>

#include "base/error.h"
#include "observe/sdpa_forward.h"

namespace sinkscope {
namespace {

/// [B, T, E] -> [B, H, T, E / H] through rows [part E, (part + 1) E) of the projection.
at::Tensor project(const at::Tensor& x, const ProjectedArguments& a, std::int64_t part) {
  const std::int64_t width = a.weight.size(1);
  const at::Tensor y = at::linear(x, a.weight.narrow(0, part * width, width), a.bias.narrow(0, part * width, width));
  return y.view({y.size(0), y.size(1), a.heads, width / a.heads}).transpose(1, 2);
}

/// true: visible, broadcastable to [B, H, Q, K].
std::optional<at::Tensor> visible(const ProjectedArguments& a) {
  if (!a.mask) return std::nullopt;
  at::Tensor hidden = a.mask->to(at::kBool);
  if (a.mask_type == 1) hidden = hidden.unsqueeze(1).unsqueeze(1);
  return hidden.logical_not();
}

}  // namespace

AttentionView projected_view(const ProjectedArguments& a) {
  if (a.query.is_nested())
    throw InputError(
        "the encoder packs padded sequences into nested tensors. Export it with enable_nested_tensor=False");
  const auto normed = [&](const at::Tensor& x) {
    return a.norm ? at::layer_norm(x, {x.size(-1)}, a.norm->weight, a.norm->bias, a.norm->eps) : x;
  };
  AttentionView view;
  view.query = project(normed(a.query.detach()), a, 0);
  view.key = project(normed(a.key.detach()), a, 1);
  view.value = project(normed(a.value.detach()), a, 2);
  view.mask = visible(a);
  view.score.scale = 1 / std::sqrt(static_cast<double>(view.query.size(-1)));
  const SdpaArguments arguments{view.query, view.key, view.value, view.mask};
  SdpaResult result = sdpa_forward(arguments);
  view.output = result.output;
  view.lse = result.lse;
  view.forward = [arguments] { sdpa_composite(arguments); };
  return view;
}

}  // namespace sinkscope
