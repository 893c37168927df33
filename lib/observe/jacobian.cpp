#include "observe/jacobian.h"

#include <ATen/Functions.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/error.h"
#include "base/random.h"
#include "model/load_model.h"
#include "observe/observe.h"

namespace sinkscope {
namespace {

/// [d] entries +1 or -1.
at::Tensor rademacher(SplitMix64& random, std::int64_t width, const at::TensorOptions& options) {
  at::Tensor probe = at::empty({width}, at::kFloat);
  auto* out = probe.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < width; ++i) out[i] = (random.next() >> 63) != 0 ? 1.0F : -1.0F;
  return probe.to(options);
}

/// A generator of its own for every (seed, sequence, target).
SplitMix64 generator_of(std::int64_t seed, SequenceId sequence, std::int64_t target) {
  std::uint64_t state = static_cast<std::uint64_t>(seed);
  for (const std::uint64_t part : {static_cast<std::uint64_t>(index(sequence)), static_cast<std::uint64_t>(target)})
    state = SplitMix64(state).next() ^ part;
  return SplitMix64(state);
}

/// Undefined where no path leads from source to target.
at::Tensor gradient_of(const at::Tensor& target, const at::Tensor& source, const at::Tensor& cotangent) {
  try {
    return torch::autograd::grad({target}, {source}, {cotangent}, /*retain_graph=*/true, false,
                                 /*allow_unused=*/true)[0];
  } catch (const std::exception& error) {
    if (is_out_of_memory(error))
      throw DeviceError(fmt::format("mixing_jacobian: out of memory: {}. Try a smaller --length.", cause_of(error)));
    // In-place operations and operators without a derivative are the model's own.
    throw InputError(fmt::format("mixing_jacobian: this model cannot be differentiated: {}", cause_of(error)));
  }
}

}  // namespace

JacobianResult mixing_jacobian(const torch::jit::Code& code, std::vector<c10::IValue> inputs, StreamId first,
                               StreamId last, const JacobianNeeds& needs, SequenceId sequence) {
  at::Tensor source, target;
  Taps taps;
  taps.want_lse = false;  // the composite operator is differentiable on every backend
  taps.stream = [&](StreamId id, const at::Tensor& x) {
    if (id == first && !source.defined()) {
      source = x.detach().clone().requires_grad_(true);
      // A model may add in place to its residual stream, which a leaf does not allow.
      return source.clone();
    }
    if (id == last) target = x;
    return x;
  };
  const at::AutoGradMode gradients(true);
  run_graph(code, std::move(inputs), taps);
  if (!source.defined() || !target.defined() || !target.requires_grad())
    throw InputError("mixing_jacobian: no differentiable path leads from the first residual stream to the last.");
  if (source.dim() != 3 || source.size(0) != 1 || target.sizes() != source.sizes())
    throw InputError(fmt::format("mixing_jacobian: the residual streams have shapes {} and {}; [1, T, d] is needed.",
                                 fmt::join(source.sizes(), " x "), fmt::join(target.sizes(), " x ")));

  const std::int64_t length = source.size(1), width = source.size(2);
  JacobianResult result;
  for (const std::int64_t wanted : needs.targets) {
    const std::int64_t position = wanted < 0 ? wanted + length : wanted;
    if (position < 0 || position >= length)
      throw UsageError(
          fmt::format("mixing_jacobian.targets: position {} lies outside a sequence of {} tokens.", wanted, length));
    result.targets.push_back(position);
  }
  const std::int64_t probes = needs.probes == 0 ? width : needs.probes;
  result.squared_norm = at::zeros({static_cast<std::int64_t>(result.targets.size()), length}, at::kDouble);
  for (std::size_t t = 0; t < result.targets.size(); ++t) {
    SplitMix64 random = generator_of(needs.seed, sequence, result.targets[t]);
    at::Tensor sum = at::zeros({length}, source.options().dtype(at::kDouble).requires_grad(false));
    for (std::int64_t p = 0; p < probes; ++p) {
      at::Tensor cotangent = at::zeros_like(target);
      at::Tensor row = cotangent.select(0, 0).select(0, result.targets[t]);
      if (needs.probes == 0)
        row.select(0, p).fill_(1);
      else
        row.copy_(rademacher(random, width, target.options()));
      const at::Tensor gradient = gradient_of(target, source, cotangent);
      if (!gradient.defined())
        throw InputError("mixing_jacobian: no differentiable path leads from the first residual stream to the last.");
      sum += gradient.detach().select(0, 0).to(at::kDouble).pow(2).sum(-1);
    }
    if (needs.probes != 0) sum /= static_cast<double>(probes);
    result.squared_norm.select(0, static_cast<std::int64_t>(t)).copy_(sum);
  }
  return result;
}

}  // namespace sinkscope
