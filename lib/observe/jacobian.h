#pragma once
// How the last residual-stream state of a target position moves with the first one of every source position (metric
// mixing_jacobian; defined in docs/metrics.md).

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <vector>

#include "base/ids.h"
#include "base/needs.h"

namespace sinkscope {

struct JacobianResult {
  std::vector<std::int64_t> targets;  ///< resolved positions, >= 0
  at::Tensor squared_norm;            ///< [targets, T] float64: squared Frobenius norm of d h_target^L / d h_source^0
};

/// One run of the graph with gradients, for one sequence, then one vector-Jacobian product per target and probe. With
/// probes = 0 every basis vector is a probe and the norms are exact; otherwise E ||J^T u||^2 = ||J||_F^2 over
/// Rademacher probes u drawn from (seed, sequence, target). Parameters must not require gradients.
///   inputs  the module, then ids [1, T]
///   first, last  streams h^0 and h^L
/// Throws InputError if no differentiable path connects them; UsageError if a target lies outside the sequence.
JacobianResult mixing_jacobian(const torch::jit::Code& code, std::vector<c10::IValue> inputs, StreamId first,
                               StreamId last, const JacobianNeeds& needs, SequenceId sequence);

}  // namespace sinkscope
