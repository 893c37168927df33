#include "kernels/row_blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/xlogy.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "kernels/check_call.h"
#include "kernels/score_tensor.h"

namespace sinkscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// How a call is cut: `batch` sequences, `kv_heads` KV heads with their query heads, `rows` queries at a time.
struct Cut {
  std::int64_t batch, kv_heads, rows;
};

Cut cut_of(const AttentionCall& call, const CallSizes& sizes, std::int64_t block_bytes) {
  // Logits, probabilities and two temporaries are alive together.
  const std::int64_t row_bytes =
      4 * (statistics_dtype(call) == at::kDouble ? 8 : 4) * std::max<std::int64_t>(sizes.keys, 1);
  const std::int64_t enough =
      std::min<std::int64_t>(sizes.queries, 64);  // fewer rows make matmul slow: rather fewer heads
  Cut cut{.batch = sizes.batch, .kv_heads = sizes.kv_heads, .rows = sizes.queries};
  const auto fitting = [&] { return block_bytes / (row_bytes * cut.batch * cut.kv_heads * sizes.group()); };
  while (fitting() < enough && cut.batch > 1) cut.batch = (cut.batch + 1) / 2;
  while (fitting() < enough && cut.kv_heads > 1) cut.kv_heads = (cut.kv_heads + 1) / 2;
  cut.rows = std::clamp<std::int64_t>(fitting(), 1, std::max<std::int64_t>(sizes.queries, 1));
  return cut;
}

/// Calls `visit(origin, logits)` for consecutive blocks; rows that see no key may be missing.
template <class Visit>
void for_each_logits(const AttentionCall& call, const CallSizes& sizes, std::int64_t block_bytes, const Visit& visit) {
  if (sizes.batch == 0 || sizes.queries == 0) return;
  const auto dtype = statistics_dtype(call);
  const Cut cut = cut_of(call, sizes, block_bytes);
  const std::int64_t group = sizes.group();
  for (std::int64_t b = 0; b < sizes.batch; b += cut.batch) {
    const std::int64_t batches = std::min(cut.batch, sizes.batch - b);
    for (std::int64_t g = 0; g < sizes.kv_heads; g += cut.kv_heads) {
      const std::int64_t kv_heads = std::min(cut.kv_heads, sizes.kv_heads - g), heads = kv_heads * group;
      const at::Tensor keys = call.key.narrow(0, b, batches).narrow(1, g, kv_heads).to(dtype);
      const at::Tensor queries = call.query.narrow(0, b, batches).narrow(1, g * group, heads);
      for (std::int64_t i = 0; i < sizes.queries; i += cut.rows) {
        const std::int64_t rows = std::min(cut.rows, sizes.queries - i);
        const std::int64_t first = call.score.first_key(i), end = call.score.end_key(i + rows - 1, sizes.keys);
        if (first >= end) continue;
        // Query heads of one KV head become rows of one matrix product, so keys are never expanded.
        const at::Tensor left =
            queries.narrow(2, i, rows).to(dtype).reshape({batches, kv_heads, group * rows, sizes.dim});
        const at::Tensor right = keys.narrow(2, first, end - first).transpose(2, 3);
        at::Tensor logits = at::matmul(left, right).view({batches, heads, rows, end - first});
        const BlockOrigin origin{.batch = b, .head = g * group, .row = i, .key = first};
        score_in_place(call, origin, logits);
        visit(origin, logits);
      }
    }
  }
}

/// The part of a [B, H, Q] or [B, H, K] tensor that a block writes: `length` positions from `start`.
at::Tensor place(const at::Tensor& x, const BlockOrigin& origin, const at::Tensor& block, std::int64_t start,
                 std::int64_t length) {
  return x.narrow(0, origin.batch, block.size(0)).narrow(1, origin.head, block.size(1)).narrow(2, start, length);
}

}  // namespace

void for_each_row_block(const AttentionCall& call, std::int64_t block_bytes,
                        const std::function<void(const RowBlock&)>& visit) {
  for_each_logits(call, check_call(call), block_bytes, [&](const BlockOrigin& origin, const at::Tensor& logits) {
    const at::Tensor lse = place(call.lse, origin, logits, origin.row, logits.size(2));
    visit({origin, logits, probabilities_of(logits, lse)});
  });
}

FullPass row_block_statistics(const AttentionCall& call, std::int64_t block_bytes) {
  FullPass pass = empty_pass(call, check_call(call));
  const at::Tensor columns = at::zeros(pass.column_sum.sizes(), pass.column_sum.options().dtype(at::kDouble));
  for_each_row_block(call, block_bytes, [&](const RowBlock& block) {
    const at::Tensor& p = block.probabilities;
    const std::int64_t rows = p.size(2), keys = p.size(3);
    // ATen sums a float column in float32: 64 rows at a time keep its error near one rounding of the sum.
    for (std::int64_t row = 0; row < rows; row += 64)
      place(columns, block.origin, p, block.origin.key, keys)
          .add_(p.narrow(2, row, std::min<std::int64_t>(64, rows - row)).sum(2));
    const auto write = [&](const at::Tensor& to, const at::Tensor& x) {
      place(to, block.origin, p, block.origin.row, rows).copy_(x);
    };
    write(pass.row_sum, p.sum(-1));
    write(pass.row_max, block.logits.amax(-1));
    write(pass.entropy, at::xlogy(p, p).sum(-1).neg_());
  });
  pass.column_sum.copy_(columns);
  pass.row_max.masked_fill_(pass.row_sum.isnan(), std::numeric_limits<double>::quiet_NaN());
  return pass;
}

at::Tensor row_block_log_sum_exp(const AttentionCall& call, std::int64_t block_bytes) {
  const CallSizes sizes = check_call(call, /*needs_lse=*/false);
  const auto options = call.query.options().dtype(statistics_dtype(call));
  at::Tensor lse = at::full({sizes.batch, sizes.heads, sizes.queries}, -kInfinity, options);
  for_each_logits(call, sizes, block_bytes, [&](const BlockOrigin& origin, const at::Tensor& logits) {
    place(lse, origin, logits, origin.row, logits.size(2)).copy_(at::logsumexp(logits, -1));
  });
  return with_learned_sink(call, lse);
}

}  // namespace sinkscope
