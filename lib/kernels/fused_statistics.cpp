#include "kernels/fused_statistics.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "kernels/check_call.h"
#include "kernels/row_tiles.h"
#include "kernels/tile_kernels.h"
#include "kernels/tile_product.h"

namespace sinkscope {
namespace {

// A row tile's packed queries stay in the L2 cache while all keys pass by; a key block's products and one strip of
// queries stay near the L1 cache. Flat: 128 to 512 rows and 24 to 192 keys differ by 5 % (bench/kernel_bench.cpp).
constexpr std::int64_t kTileRows = 256;
constexpr std::int64_t kTileKeys = 96;

constexpr float kTinyScale = 1e-30F;  // below it all logits are taken as 0

/// Float32 view of the call, with what the inner loops need.
struct Pass {
  CallSizes sizes;
  ScoreFunction score;
  at::Tensor query, key;  // last dim contiguous
  at::Tensor lse;         // [B, H, Q] float32 contiguous
  at::Tensor padding;     // [B, K] bool contiguous, or undefined
  StripScore strip_score;
  double natural = 1;               // nats of a step of x: the scale or the soft cap
  double unit = std::numbers::ln2;  // nats of a step of t, all but equal to ln 2
  FullPass out;
};

at::Tensor with_contiguous_rows(const at::Tensor& x) { return x.stride(3) == 1 || x.size(3) == 1 ? x : x.contiguous(); }

Pass prepare(const AttentionCall& call, const CallSizes& sizes) {
  Pass pass{.sizes = sizes,
            .score = call.score,
            .query = with_contiguous_rows(call.query),
            .key = with_contiguous_rows(call.key),
            .lse = call.lse.to(at::kFloat).contiguous(),
            .out = empty_pass(call, sizes)};
  if (call.key_padding) pass.padding = call.key_padding->to(at::kBool).contiguous();
  pass.natural = call.score.softcap > 0 ? call.score.softcap : call.score.scale;
  pass.strip_score = {
      .scale = static_cast<float>(pass.natural * std::numbers::log2e),
      .cap_scale = call.score.softcap > 0 ? static_cast<float>(call.score.scale / call.score.softcap) : 1.0F,
      .softcap = call.score.softcap > 0};
  // From the rounded scale, so that its rounding is relative to t and does not grow with the logit.
  if (std::abs(pass.strip_score.scale) > kTinyScale)
    pass.unit = pass.natural / static_cast<double>(pass.strip_score.scale);
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
      : pass_(pass),
        strip_(strip_rows()),
        product_(pass.query.scalar_type(), pass.sizes.dim, kTileRows, kTileKeys),
        rows_(kTileRows),
        products_(kTileKeys * strip_),
        column_lanes_(kTileKeys * column_lanes()),
        first_(strip_),
        last_(strip_) {}

  /// Adds the rows [row, row + rows) of head number b * H + h; `columns` [K] collects their column sums.
  void row_tile(std::int64_t batch_head, std::int64_t row, std::int64_t rows, double* columns) {
    const std::int64_t batch = batch_head / pass_.sizes.heads, head = batch_head % pass_.sizes.heads;
    const std::int64_t kv_head = head / pass_.sizes.group();
    const at::Tensor &query = pass_.query, &key = pass_.key;
    const char* queries = element_at(query, batch * query.stride(0) + head * query.stride(1) + row * query.stride(2));
    product_.set_queries(queries, query.stride(2), rows);
    begin_rows(batch_head, row, rows);
    const bool* visible =
        pass_.padding.defined() ? pass_.padding.const_data_ptr<bool>() + batch * pass_.sizes.keys : nullptr;
    const KeyRange range = key_range(pass_.score, row, rows, pass_.sizes.keys);
    for (std::int64_t j = range.first; j < range.end; j += kTileKeys) {
      const std::int64_t keys = std::min(kTileKeys, range.end - j);
      product_.set_keys(element_at(key, batch * key.stride(0) + kv_head * key.stride(1) + j * key.stride(2)),
                        key.stride(2), keys);
      std::fill_n(column_lanes_.begin(), keys * column_lanes(), 0.0F);
      for (std::int64_t r = 0; r < rows; r += strip_) strip_tile(row, r, std::min(strip_, rows - r), j, keys, visible);
      add_columns(column_lanes_.data(), keys, columns + j);
    }
    end_rows(batch_head, row, rows);
  }

 private:
  static const char* element_at(const at::Tensor& x, std::int64_t offset) {
    return static_cast<const char*>(x.const_data_ptr()) + offset * static_cast<std::int64_t>(x.element_size());
  }

  /// One strip, rows [row + r, row + r + rows), against keys [j, j + keys).
  void strip_tile(std::int64_t row, std::int64_t r, std::int64_t rows, std::int64_t j, std::int64_t keys,
                  const bool* visible) {
    const KeyRange range = key_range(pass_.score, row + r, rows, pass_.sizes.keys);
    const std::int64_t begin = std::max(j, range.first), end = std::min(j + keys, range.end);
    if (begin >= end) return;
    product_.multiply(r / strip_, begin - j, end - begin, products_.data());
    StripMask mask{.key_visible = visible ? reinterpret_cast<const std::uint8_t*>(visible + begin) : nullptr};
    if (rows < strip_ || begin < range.inner_first || end > range.inner_end) {
      for (std::int64_t i = 0; i < strip_; ++i) {
        const std::int64_t query = row + r + i, none = end - begin;
        const std::int64_t first = i < rows ? pass_.score.first_key(query) - begin : none;
        const std::int64_t last = i < rows ? pass_.score.end_key(query, pass_.sizes.keys) - 1 - begin : -1;
        first_[i] = static_cast<std::int32_t>(std::clamp<std::int64_t>(first, 0, none));
        last_[i] = static_cast<std::int32_t>(std::clamp<std::int64_t>(last, -1, none));
      }
      mask.first = first_.data();
      mask.last = last_.data();
    }
    strip_statistics(pass_.strip_score, products_.data(), strip_, end - begin, mask, rows_.strip(r),
                     column_lanes_.data() + (begin - j) * column_lanes());
  }

  void begin_rows(std::int64_t batch_head, std::int64_t row, std::int64_t rows) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float* lse = pass_.lse.const_data_ptr<float>() + batch_head * pass_.sizes.queries + row;
    const bool flat = std::abs(pass_.strip_score.scale) <= kTinyScale;
    for (std::int64_t i = 0; i < kTileRows; ++i) {
      // A fully masked row may come with -inf; +inf gives it probability 0 as well, and no NaN.
      const double value = i >= rows || lse[i] == -kInfinity ? kInfinity : lse[i];
      const double centre = flat || std::isinf(value) ? 0 : value / pass_.natural;
      rows_.centre[i] = static_cast<float>(centre);
      rows_.shift[i] = static_cast<float>((rows_.centre[i] * pass_.natural - value) / pass_.unit);
    }
    std::fill(rows_.max.begin(), rows_.max.end(), -kInfinity);
    for (auto* sums : {&rows_.sum, &rows_.sum_rest, &rows_.weighted, &rows_.weighted_rest})
      std::fill(sums->begin(), sums->end(), 0.0F);
  }

  void end_rows(std::int64_t batch_head, std::int64_t row, std::int64_t rows) {
    const std::int64_t start = batch_head * pass_.sizes.queries + row;
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
  std::int64_t strip_;
  TileProduct product_;
  RowSums rows_;
  std::vector<float> products_, column_lanes_;
  std::vector<std::int32_t> first_, last_;
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
  const std::int64_t keys = pass.sizes.keys, per_head = tiles.tiles();
  std::vector<double> columns(keys);
  for (std::int64_t item = begin; item < end;) {
    const std::int64_t head = item / per_head, stop = std::min(end, (head + 1) * per_head);
    const bool complete = item == head * per_head && stop == (head + 1) * per_head;
    std::fill(columns.begin(), columns.end(), 0.0);
    for (; item < stop; ++item) {
      const std::int64_t row = item % per_head * kTileRows;
      worker.row_tile(head, row, std::min(kTileRows, pass.sizes.queries - row), columns.data());
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
  at::parallel_for(0, shares, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t share = begin; share < end; ++share)
      partial[share] =
          run_share(pass, tiles, tiles.begin_of_share(share, shares), tiles.begin_of_share(share + 1, shares));
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
