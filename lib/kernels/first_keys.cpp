#include "kernels/first_keys.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "kernels/check_call.h"
#include "kernels/first_keys_cpu.h"
#include "kernels/score_tensor.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kWideBytes = std::int64_t{16} << 20;  // queries widened to float32 at a time

at::Tensor block_probabilities(const AttentionCall& call, const CallSizes& sizes, std::int64_t count, std::int64_t row,
                               std::int64_t rows) {
  const auto dtype = statistics_dtype(call);
  // Query heads of one KV head become rows of one matrix product, so keys are never expanded.
  const at::Tensor query =
      call.query.narrow(2, row, rows).to(dtype).reshape({sizes.batch, sizes.kv_heads, sizes.group() * rows, sizes.dim});
  const at::Tensor key = call.key.narrow(2, 0, count).to(dtype);
  at::Tensor logits = at::matmul(query, key.transpose(2, 3)).view({sizes.batch, sizes.heads, rows, count});
  score_in_place(call, {.row = row}, logits);
  return probabilities_of(logits, call.lse.narrow(2, row, rows));
}

/// Adds what learned sinks take. A row that sees no key has all its mass on the sink and no renormalised value.
void add_learned_sink(const AttentionCall& call, const at::Tensor& first_key, std::int64_t row, FirstKeysSums& sums) {
  const at::Tensor sink = call.sink_logit->to(at::kDouble).view({1, -1, 1});
  const std::int64_t rows = first_key.size(2);
  const at::Tensor mass = (sink - call.lse.narrow(2, row, rows).to(at::kDouble)).exp_();
  sums.learned_sink_sum.add_(mass.sum(-1));
  const at::Tensor rest =
      call.key_lse.defined() ? (call.key_lse.narrow(2, row, rows).to(at::kDouble) - sink).sigmoid_() : 1 - mass;
  sums.renormalised_sum.add_(at::where(first_key == 0, 0.0, first_key.to(at::kDouble) / rest).sum(-1));
}

/// Sum of `x` [B, H, n] over the part of rows [row, row + n) that lies in [begin, end).
void add_rows(at::Tensor& sum, const at::Tensor& x, std::int64_t row, std::int64_t begin, std::int64_t end) {
  begin = std::max(begin, row);
  end = std::min(end, row + x.size(2));
  if (begin < end) sum.add_(x.narrow(2, begin - row, end - begin).sum(-1, false, at::kDouble));
}

void check_selected(const FirstKeysRequest& request, const CallSizes& sizes) {
  if (!request.selected) return;
  const at::Tensor& selected = *request.selected;
  if (selected.scalar_type() == at::kBool && selected.sizes() == at::IntArrayRef{sizes.batch, sizes.queries}) return;
  std::ostringstream text;
  text << "selected rows must be bool [" << sizes.batch << ", " << sizes.queries << "], not " << selected.scalar_type()
       << " " << selected.sizes();
  throw InputError(text.str());
}

}  // namespace

at::Tensor first_key_probabilities(const AttentionCall& call, std::int64_t count, std::int64_t row, std::int64_t rows) {
  const CallSizes sizes = check_call(call);
  if (rows < 0) rows = sizes.queries - row;
  return block_probabilities(call, sizes, std::min(count, sizes.keys), row, rows);
}

FirstKeysSums first_keys_sums(const AttentionCall& call, const FirstKeysRequest& request) {
  const CallSizes sizes = check_call(call);
  check_selected(request, sizes);
  const std::int64_t queries = sizes.queries, counted = std::min(request.keys, sizes.keys);
  const std::int64_t after = std::min(request.after_first_k, sizes.keys),
                     count = std::max({counted, after, std::int64_t{1}});
  const auto options = call.query.options().dtype(at::kDouble);
  const auto per_head = [&](bool wanted) {
    return wanted ? at::zeros({sizes.batch, sizes.heads}, options) : at::Tensor();
  };
  FirstKeysSums sums{.key_sum = at::zeros({sizes.batch, sizes.heads, counted}, options),
                     .first_query = per_head(true),
                     .last_query = per_head(true),
                     .tail_sum = per_head(request.tail_rows > 0),
                     .after_first_k_sum = per_head(request.after_first_k > 0),
                     .selected_sum = per_head(request.selected.has_value()),
                     .learned_sink_sum = per_head(call.sink_logit.has_value()),
                     .renormalised_sum = per_head(call.sink_logit.has_value())};
  if (sizes.batch == 0 || queries == 0 || sizes.keys == 0) return sums;
  if (first_keys_cpu_supports(call)) {
    first_keys_sums_cpu(call, request, sizes, count, sums);
    return sums;
  }
  const std::int64_t row_bytes = sizes.batch * sizes.heads * (sizes.dim + 3 * count) * 4;
  const std::int64_t step = std::clamp<std::int64_t>(kWideBytes / row_bytes, 1, queries);
  for (std::int64_t row = 0; row < queries; row += step) {
    const std::int64_t rows = std::min(step, queries - row);
    const at::Tensor p = block_probabilities(call, sizes, count, row, rows);
    const at::Tensor first_key = p.select(3, 0);
    sums.key_sum.add_(p.narrow(3, 0, counted).sum(2, false, at::kDouble));
    add_rows(sums.first_query, first_key, row, 0, 1);
    add_rows(sums.last_query, first_key, row, queries - 1, queries);
    if (request.tail_rows > 0) add_rows(sums.tail_sum, first_key, row, queries - request.tail_rows, queries);
    if (request.after_first_k > 0)
      add_rows(sums.after_first_k_sum, p.narrow(3, 0, after).sum(-1), row, request.after_first_k, queries);
    if (request.selected) {
      const at::Tensor hidden = request.selected->narrow(1, row, rows).logical_not().unsqueeze(1);
      sums.selected_sum.add_(first_key.masked_fill(hidden, 0).sum(-1, false, at::kDouble));
    }
    if (call.sink_logit) add_learned_sink(call, first_key, row, sums);
  }
  return sums;
}

}  // namespace sinkscope
