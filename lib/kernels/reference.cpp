#include "kernels/reference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/xlogy.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "kernels/check_call.h"

namespace sinkscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// [Q, K] bool: ScoreFunction::visible for every pair, one by one.
at::Tensor visible_pairs(const ScoreFunction& score, std::int64_t queries, std::int64_t keys) {
  at::Tensor visible = at::zeros({queries, keys}, at::kBool);
  bool* data = visible.mutable_data_ptr<bool>();
  for (std::int64_t i = 0; i < queries; ++i)
    for (std::int64_t j = 0; j < keys; ++j) data[i * keys + j] = score.visible(i, j, keys);
  return visible;
}

/// [B, H, Q, K] logits computed in `dtype`.
at::Tensor scores_in(const AttentionCall& call, const CallSizes& sizes, at::ScalarType dtype) {
  const at::Tensor key = call.key.repeat_interleave(sizes.group(), 1).to(dtype);
  at::Tensor scores = at::matmul(call.query.to(dtype), key.transpose(2, 3)) * call.score.scale;
  if (call.score.softcap > 0) scores = (scores / call.score.softcap).tanh() * call.score.softcap;
  if (call.mask && call.mask->scalar_type() != at::kBool) scores = scores + call.mask->to(dtype);
  if (call.mask && call.mask->scalar_type() == at::kBool)
    scores = scores.masked_fill(call.mask->logical_not(), -kInfinity);
  if (call.key_padding)
    scores = scores.masked_fill(call.key_padding->logical_not().view({sizes.batch, 1, 1, sizes.keys}), -kInfinity);
  const at::Tensor visible = visible_pairs(call.score, sizes.queries, sizes.keys).to(scores.device());
  return scores.masked_fill(visible.logical_not(), -kInfinity);
}

Reference statistics_in(const AttentionCall& call, at::ScalarType dtype, at::ScalarType sums) {
  const CallSizes sizes = check_call(call, /*needs_lse=*/false);
  Reference result;
  result.scores = scores_in(call, sizes, dtype);
  at::Tensor columns = result.scores;  // with the sink's, as the softmax sees them
  if (call.sink_logit) {
    const at::Tensor sink = call.sink_logit->to(dtype).view({1, sizes.heads, 1, 1});
    columns = at::cat({columns, sink.expand({sizes.batch, sizes.heads, sizes.queries, 1})}, -1);
  }
  const at::Tensor masked = (columns == -kInfinity).all(-1, true);
  result.lse = at::logsumexp(columns, -1).masked_fill(masked.squeeze(-1), kInfinity);
  const at::Tensor p = at::softmax(columns, -1)
                           .masked_fill(masked, 0)
                           .narrow(-1, 0, sizes.keys)
                           .masked_fill(result.scores == -kInfinity, 0);
  result.probabilities = p;
  result.pass = {.column_sum = p.sum(-2, false, sums),
                 .entropy = at::xlogy(p, p).neg().sum(-1, false, sums),
                 .row_max = sizes.keys > 0 ? result.scores.amax(-1).to(sums) : p.sum(-1, false, sums) - kInfinity,
                 .row_sum = p.sum(-1, false, sums)};
  return result;
}

}  // namespace

Reference reference(const AttentionCall& call) { return statistics_in(call, at::kDouble, at::kDouble); }

Reference eager(const AttentionCall& call) {
  const at::ScalarType dtype = call.query.scalar_type();
  return statistics_in(call, dtype, dtype == at::kDouble ? at::kDouble : at::kFloat);
}

}  // namespace sinkscope
