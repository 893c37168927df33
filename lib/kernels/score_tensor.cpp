#include "kernels/score_tensor.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <limits>

namespace sinkscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The part of a mask, broadcastable to [B, H, Q, K], that belongs to a block; dimensions of size 1 stay.
at::Tensor mask_of_block(at::Tensor mask, const BlockOrigin& origin, at::IntArrayRef block) {
  while (mask.dim() < 4) mask = mask.unsqueeze(0);
  const std::int64_t starts[] = {origin.batch, origin.head, origin.row, origin.key};
  for (std::int64_t dim = 0; dim < 4; ++dim)
    if (mask.size(dim) != 1) mask = mask.narrow(dim, starts[dim], block[dim]);
  return mask;
}

}  // namespace

void score_in_place(const AttentionCall& call, const BlockOrigin& origin, at::Tensor& products) {
  const ScoreFunction& score = call.score;
  const std::int64_t rows = products.size(2), keys = products.size(3);
  products.mul_(score.scale);
  if (score.softcap > 0) products.div_(score.softcap).tanh_().mul_(score.softcap);
  if (call.mask) {
    const at::Tensor mask = mask_of_block(*call.mask, origin, products.sizes());
    if (mask.scalar_type() == at::kBool)
      products.masked_fill_(mask.logical_not(), -kInfinity);
    else
      products.add_(mask);
  }
  if (call.key_padding) {
    const at::Tensor visible = call.key_padding->narrow(0, origin.batch, products.size(0)).narrow(1, origin.key, keys);
    products.masked_fill_(visible.logical_not().view({products.size(0), 1, 1, keys}), -kInfinity);
  }
  const at::Tensor hidden = hidden_pairs(score, origin.row, rows, origin.key, keys, products.device());
  if (hidden.defined()) products.masked_fill_(hidden, -kInfinity);
}

at::Tensor hidden_pairs(const ScoreFunction& score, std::int64_t row, std::int64_t rows, std::int64_t key,
                        std::int64_t keys, at::Device device) {
  const std::int64_t last_row = row + rows - 1, end = key + keys;
  if (rows == 0 || (score.first_key(last_row) <= key && score.end_key(row, end) >= end)) return {};
  const auto options = at::TensorOptions(at::kLong).device(device);
  const at::Tensor i = at::arange(row, row + rows, options).unsqueeze(1), j = at::arange(key, end, options);
  at::Tensor hidden = at::zeros({rows, keys}, options.dtype(at::kBool));
  if (score.causal) hidden.logical_or_(j > i);
  if (score.window > 0) hidden.logical_or_(i - j >= score.window);
  if (score.chunk > 0) hidden.logical_or_(j < i.div(score.chunk, "floor") * score.chunk);
  return hidden;
}

at::Tensor probabilities_of(const at::Tensor& logits, const at::Tensor& lse) {
  const at::Tensor wide = lse.to(logits.scalar_type());
  const at::Tensor safe = at::where(wide == -kInfinity, kInfinity, wide).unsqueeze(-1);
  at::Tensor probabilities = (logits - safe).exp_();
  return probabilities.masked_fill_(logits == -kInfinity, 0);  // also in a row that is NaN because of another key
}

at::Tensor with_learned_sink(const AttentionCall& call, at::Tensor lse) {
  if (call.sink_logit) lse = at::logaddexp(lse, call.sink_logit->to(lse.scalar_type()).view({1, -1, 1}));
  return lse.masked_fill_(lse == -kInfinity, kInfinity);
}

}  // namespace sinkscope
