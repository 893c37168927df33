#include "kernels/fused_statistics.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "kernels/check_call.h"
#include "kernels/tile_walk.h"

namespace sinkscope {
namespace {

constexpr float kTinyScale = 1e-30F;  // below it all logits are taken as 0

struct Pass {
  TileOperands operands;
  at::Tensor lse;                   // [B, H, Q] float32 contiguous
  double unit = std::numbers::ln2;  // nats of a step of t, all but equal to ln 2
  FullPass out;
};

Pass prepare(const AttentionCall& call, const CallSizes& sizes) {
  Pass pass{.operands = tile_operands(call, sizes),
            .lse = call.lse.to(at::kFloat).contiguous(),
            .out = empty_pass(call, sizes)};
  // From the rounded scale, so that its rounding is relative to t and does not grow with the logit.
  const float scale = pass.operands.strip_score.scale;
  if (std::abs(scale) > kTinyScale) pass.unit = pass.operands.natural / static_cast<double>(scale);
  return pass;
}

/// Row accumulators of one tile.
struct RowSums {
  explicit RowSums(std::int64_t rows)
      : centre(rows), shift(rows), max(rows), sum(rows), sum_rest(rows), weighted(rows), weighted_rest(rows) {}
  std::vector<float> centre, shift, max, sum, sum_rest, weighted, weighted_rest;

  StripRows strip(std::int64_t row) {
    return {centre.data() + row,   shift.data() + row,    max.data() + row,          sum.data() + row,
            sum_rest.data() + row, weighted.data() + row, weighted_rest.data() + row};
  }
};

/// What one thread needs to work through row tiles.
class Worker {
 public:
  explicit Worker(const Pass& pass)
      : pass_(pass), walk_(pass.operands), rows_(kTileRows), column_lanes_(kTileKeys * column_lanes()) {}

  /// Adds the rows [row, row + rows) of head number b * H + h; `columns` [K] collects their column sums.
  void row_tile(std::int64_t batch_head, std::int64_t row, std::int64_t rows, double* columns) {
    columns_ = columns;
    begin_rows(batch_head, row, rows);
    walk_.row_tile(batch_head, row, rows, *this);
    end_rows(batch_head, row, rows);
  }

  // The visitor of TileWalk.
  void begin_keys(std::int64_t keys) { std::fill_n(column_lanes_.begin(), keys * column_lanes(), 0.0F); }
  void strip(std::int64_t row, std::int64_t key, std::int64_t count, const float* products, const StripMask& mask) {
    strip_statistics(pass_.operands.strip_score, products, strip_rows(), count, mask, rows_.strip(row),
                     column_lanes_.data() + key * column_lanes());
  }
  void end_keys(std::int64_t first, std::int64_t keys) { add_columns(column_lanes_.data(), keys, columns_ + first); }

 private:
  void begin_rows(std::int64_t batch_head, std::int64_t row, std::int64_t rows) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float* lse = pass_.lse.const_data_ptr<float>() + batch_head * pass_.operands.sizes.queries + row;
    const bool flat = std::abs(pass_.operands.strip_score.scale) <= kTinyScale;
    const double natural = pass_.operands.natural;
    for (std::int64_t i = 0; i < kTileRows; ++i) {
      // A fully masked row may come with -inf; +inf gives it probability 0 as well, and no NaN.
      const double value = i >= rows || lse[i] == -kInfinity ? kInfinity : lse[i];
      const double centre = flat || std::isinf(value) ? 0 : value / natural;
      rows_.centre[i] = static_cast<float>(centre);
      rows_.shift[i] = static_cast<float>((rows_.centre[i] * natural - value) / pass_.unit);
    }
    std::fill(rows_.max.begin(), rows_.max.end(), -kInfinity);
    for (auto* sums : {&rows_.sum, &rows_.sum_rest, &rows_.weighted, &rows_.weighted_rest})
      std::fill(sums->begin(), sums->end(), 0.0F);
  }

  void end_rows(std::int64_t batch_head, std::int64_t row, std::int64_t rows) {
    const std::int64_t start = batch_head * pass_.operands.sizes.queries + row;
    const float* lse = pass_.lse.const_data_ptr<float>() + start;
    float* entropy = pass_.out.entropy.mutable_data_ptr<float>() + start;
    float* row_max = pass_.out.row_max.mutable_data_ptr<float>() + start;
    float* row_sum = pass_.out.row_sum.mutable_data_ptr<float>() + start;
    for (std::int64_t i = 0; i < rows; ++i) {
      row_sum[i] = rows_.sum[i] + rows_.sum_rest[i];
      entropy[i] = static_cast<float>(-pass_.unit * (static_cast<double>(rows_.weighted[i]) + rows_.weighted_rest[i]));
      const double top = rows_.max[i];
      row_max[i] = static_cast<float>(std::isnan(row_sum[i]) ? std::numeric_limits<double>::quiet_NaN()
                                      : std::isinf(top)      ? top
                                                             : lse[i] + top * pass_.unit);
    }
  }

  const Pass& pass_;
  TileWalk walk_;
  RowSums rows_;
  std::vector<float> column_lanes_;
  double* columns_ = nullptr;
};

/// Column sums of a head that one thread worked on only in part.
struct PartialHead {
  std::int64_t batch_head;
  std::vector<double> columns;
};

/// Work items [begin, end) of `tiles`. Column sums of complete heads are written, those of others returned, in order.
std::vector<PartialHead> run_share(const Pass& pass, const RowTiles& tiles, std::int64_t begin, std::int64_t end) {
  std::vector<PartialHead> partial;
  if (begin >= end) return partial;
  Worker worker(pass);
  const std::int64_t keys = pass.operands.sizes.keys, per_head = tiles.tiles();
  std::vector<double> columns(keys);
  for (std::int64_t item = begin; item < end;) {
    const std::int64_t head = item / per_head, stop = std::min(end, (head + 1) * per_head);
    const bool complete = item == head * per_head && stop == (head + 1) * per_head;
    std::fill(columns.begin(), columns.end(), 0.0);
    for (; item < stop; ++item) {
      const std::int64_t row = item % per_head * kTileRows;
      worker.row_tile(head, row, std::min(kTileRows, pass.operands.sizes.queries - row), columns.data());
    }
    if (complete)
      std::copy(columns.begin(), columns.end(), pass.out.column_sum.mutable_data_ptr<float>() + head * keys);
    else
      partial.push_back({head, columns});
  }
  return partial;
}

}  // namespace

bool fused_statistics_supports(const AttentionCall& call, std::string* why_not) {
  const char* reason = nullptr;
  if (call.mask) reason = "a mask tensor";
  if (!has_element(call.query.scalar_type())) reason = "its dtype";
  if (!call.query.is_cpu()) reason = "its device";
  if (reason && why_not) *why_not = std::string("the fused CPU pass does not take ") + reason;
  return reason == nullptr;
}

FullPass fused_statistics(const AttentionCall& call) {
  const CallSizes sizes = check_call(call);
  std::string why_not;
  if (!fused_statistics_supports(call, &why_not)) throw InputError(why_not);
  const Pass pass = prepare(call, sizes);
  const RowTiles tiles(call.score, sizes.batch * sizes.heads, sizes.queries, sizes.keys, kTileRows);
  if (tiles.items() == 0 || sizes.keys == 0) return pass.out;
  const std::int64_t shares = std::min<std::int64_t>(at::get_num_threads(), tiles.items());
  std::vector<std::vector<PartialHead>> partial(shares);
  for_each_share(tiles, shares, [&](std::int64_t share, std::int64_t begin, std::int64_t end) {
    partial[share] = run_share(pass, tiles, begin, end);
  });
  // Parts of one head are next to each other; they are added in the order of the shares, so the result does not depend
  // on timing.
  float* out = pass.out.column_sum.mutable_data_ptr<float>();
  PartialHead sum{.batch_head = -1, .columns = {}};
  const auto write = [&] {
    std::copy(sum.columns.begin(), sum.columns.end(), out + std::max<std::int64_t>(sum.batch_head, 0) * sizes.keys);
  };
  for (auto& share : partial)
    for (PartialHead& part : share) {
      if (part.batch_head != sum.batch_head) {
        write();
        sum = std::move(part);
        continue;
      }
      for (std::int64_t j = 0; j < sizes.keys; ++j) sum.columns[j] += part.columns[j];
    }
  write();
  return pass.out;
}

}  // namespace sinkscope
