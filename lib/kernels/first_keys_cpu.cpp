#include "kernels/first_keys_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/scan_kernels.h"
#include "kernels/tile_product.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kChunkRows =
    1024;  // rows of one work item; fixed, so that sums do not depend on the number of threads

/// Dense operands, shared by all threads.
struct Operands {
  const AttentionCall& call;
  const FirstKeysRequest& request;
  const CallSizes& sizes;
  std::int64_t count;
  at::Tensor keys;      // [B, G, count, D] float32
  at::Tensor lse;       // [B, H, Q] float32
  at::Tensor key_lse;   // [B, H, Q] float32 or undefined
  at::Tensor padding;   // [B, K] bool or undefined
  at::Tensor selected;  // [B, Q] bool or undefined
  at::Tensor sink;      // [H] float64 or undefined
};

/// The sums of one work item.
struct Partial {
  std::vector<double> key;
  double first = 0, last = 0, tail = 0, after = 0, selected = 0, sink = 0, renormalised = 0;
};

/// Probabilities [rows, few_key_stride(count)] of one chunk, in place of the products.
void to_probabilities(const Operands& o, std::int64_t batch, const float* lse, std::int64_t row, std::int64_t rows,
                      float* values) {
  const ScoreFunction& score = o.call.score;
  const std::int64_t stride = few_key_stride(o.count);
  if (score.softcap > 0)
    for (std::int64_t i = 0; i < rows * stride; ++i)
      values[i] = static_cast<float>(score.softcap * std::tanh(values[i] * score.scale / score.softcap));
  few_probabilities(values, rows, stride, lse, score.softcap > 0 ? 1 : score.scale);
  // 0 where a key is not seen, also in a row that is NaN because of another key.
  const bool* visible = o.padding.defined() ? o.padding.const_data_ptr<bool>() + batch * o.sizes.keys : nullptr;
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t first = std::min(score.first_key(row + i), o.count),
                       end = std::clamp(score.end_key(row + i, o.sizes.keys), first, o.count);
    float* p = values + i * stride;
    if (end - first < o.count) {
      std::fill(p, p + first, 0.0F);
      std::fill(p + end, p + o.count, 0.0F);
    }
    for (std::int64_t j = first; visible && j < end; ++j)
      if (!visible[j]) p[j] = 0;
  }
}

double key_lse_at(const Operands& o, std::int64_t batch, std::int64_t head, std::int64_t row) {
  return o.key_lse.const_data_ptr<float>()[(batch * o.sizes.heads + head) * o.sizes.queries + row];
}

void add_row(const Operands& o, std::int64_t batch, std::int64_t head, std::int64_t row, double lse, const float* p,
             Partial& sums) {
  const double first = p[0];
  for (std::size_t j = 0; j < sums.key.size(); ++j) sums.key[j] += p[j];
  if (row == 0) sums.first += first;
  if (row == o.sizes.queries - 1) sums.last += first;
  if (row >= o.sizes.queries - o.request.tail_rows) sums.tail += first;
  if (row >= o.request.after_first_k)
    for (std::int64_t j = 0; j < std::min(o.request.after_first_k, o.count); ++j) sums.after += p[j];
  if (o.selected.defined() && o.selected.const_data_ptr<bool>()[batch * o.sizes.queries + row]) sums.selected += first;
  if (!o.sink.defined()) return;
  const double sink = o.sink.const_data_ptr<double>()[head], mass = std::exp(sink - lse);
  sums.sink += mass;
  if (first == 0) return;
  const double rest = o.key_lse.defined() ? 1 / (1 + std::exp(sink - key_lse_at(o, batch, head, row))) : 1 - mass;
  sums.renormalised += first / rest;
}

/// Rows [row, row + rows) of head number b * H + h. `values` holds kChunkRows * few_key_stride(count).
Partial sum_chunk(const Operands& o, std::int64_t batch_head, std::int64_t row, std::int64_t rows, float* values) {
  const at::Tensor& query = o.call.query;
  const std::int64_t batch = batch_head / o.sizes.heads, head = batch_head % o.sizes.heads,
                     kv_head = head / o.sizes.group();
  const std::int64_t offset = batch * query.stride(0) + head * query.stride(1) + row * query.stride(2);
  const char* data =
      static_cast<const char*>(query.const_data_ptr()) + offset * static_cast<std::int64_t>(query.element_size());
  const float* keys = o.keys.const_data_ptr<float>() + (batch * o.sizes.kv_heads + kv_head) * o.count * o.sizes.dim;
  const float* lse = o.lse.const_data_ptr<float>() + batch_head * o.sizes.queries + row;
  few_key_products(data, element_of(query.scalar_type()), query.stride(2), rows, o.sizes.dim, keys, o.count, values);
  to_probabilities(o, batch, lse, row, rows, values);
  Partial sums{.key = std::vector<double>(std::min(o.request.keys, o.sizes.keys))};
  for (std::int64_t i = 0; i < rows; ++i)
    add_row(o, batch, head, row + i, lse[i], values + i * few_key_stride(o.count), sums);
  return sums;
}

void add_to(const at::Tensor& sum, std::int64_t batch_head, double value) {
  if (sum.defined()) sum.mutable_data_ptr<double>()[batch_head] += value;
}

}  // namespace

bool first_keys_cpu_supports(const AttentionCall& call) {
  return call.query.is_cpu() && has_element(call.query.scalar_type()) && !call.mask &&
         (call.query.stride(3) == 1 || call.query.size(3) == 1);
}

void first_keys_sums_cpu(const AttentionCall& call, const FirstKeysRequest& request, const CallSizes& sizes,
                         std::int64_t count, const FirstKeysSums& sums) {
  Operands operands{.call = call, .request = request, .sizes = sizes, .count = count};
  operands.keys = call.key.narrow(2, 0, count).to(at::kFloat).contiguous();
  operands.lse = call.lse.to(at::kFloat).contiguous();
  if (call.key_lse.defined()) operands.key_lse = call.key_lse.to(at::kFloat).contiguous();
  if (call.key_padding) operands.padding = call.key_padding->to(at::kBool).contiguous();
  if (request.selected) operands.selected = request.selected->contiguous();
  if (call.sink_logit) operands.sink = call.sink_logit->to(at::kDouble).contiguous();
  const std::int64_t chunks = (sizes.queries + kChunkRows - 1) / kChunkRows, items = sizes.batch * sizes.heads * chunks;
  std::vector<Partial> partial(items);
  const std::int64_t grain = std::max<std::int64_t>(1, 512 / sizes.queries);
  at::parallel_for(0, items, grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values(std::min(kChunkRows, sizes.queries) * few_key_stride(count));
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item % chunks * kChunkRows;
      partial[item] = sum_chunk(operands, item / chunks, row, std::min(kChunkRows, sizes.queries - row), values.data());
    }
  });
  for (std::int64_t item = 0; item < items; ++item) {
    const Partial& part = partial[item];
    const std::int64_t head = item / chunks, keys = sums.key_sum.size(2);
    for (std::int64_t j = 0; j < keys; ++j) sums.key_sum.mutable_data_ptr<double>()[head * keys + j] += part.key[j];
    add_to(sums.first_query, head, part.first);
    add_to(sums.last_query, head, part.last);
    add_to(sums.tail_sum, head, part.tail);
    add_to(sums.after_first_k_sum, head, part.after);
    add_to(sums.selected_sum, head, part.selected);
    add_to(sums.learned_sink_sum, head, part.sink);
    add_to(sums.renormalised_sum, head, part.renormalised);
  }
}

}  // namespace sinkscope
