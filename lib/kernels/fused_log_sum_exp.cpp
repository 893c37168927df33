#include "kernels/fused_log_sum_exp.h"

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/fused_statistics.h"
#include "kernels/score_tensor.h"
#include "kernels/tile_walk.h"

namespace sinkscope {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// What one thread needs to work through row tiles.
class Worker {
 public:
  explicit Worker(const TileOperands& operands)
      : operands_(operands), walk_(operands), top_(kTileRows), sum_(kTileRows), rest_(kTileRows) {}

  /// Writes out [rows]: the log-sum-exp of rows [row, row + rows) of head number b * H + h; -inf where no key is seen.
  void row_tile(std::int64_t batch_head, std::int64_t row, std::int64_t rows, float* out) {
    std::fill(top_.begin(), top_.end(), -kInfinity);
    for (auto* sums : {&sum_, &rest_}) std::fill(sums->begin(), sums->end(), 0.0F);
    walk_.row_tile(batch_head, row, rows, *this);
    const double natural = std::abs(operands_.natural);
    for (std::int64_t i = 0; i < rows; ++i)
      out[i] = sum_[i] == 0 ? -kInfinity
                            : static_cast<float>(natural * top_[i] + std::log(static_cast<double>(sum_[i]) + rest_[i]));
  }

  // The visitor of TileWalk.
  void begin_keys(std::int64_t) {}
  void strip(std::int64_t row, std::int64_t, std::int64_t count, float* products, const StripMask& mask) {
    strip_exp_sums(operands_.strip_score, products, strip_rows(), count, mask,
                   {top_.data() + row, sum_.data() + row, rest_.data() + row});
  }
  void end_keys(std::int64_t, std::int64_t) {}

 private:
  const TileOperands& operands_;
  TileWalk walk_;
  std::vector<float> top_, sum_, rest_;
};

}  // namespace

at::Tensor fused_log_sum_exp(const AttentionCall& call) {
  const CallSizes sizes = check_call(call, /*needs_lse=*/false);
  std::string why_not;
  if (!fused_statistics_supports(call, &why_not)) throw InputError(why_not);
  const TileOperands operands = tile_operands(call, sizes);
  at::Tensor lse =
      at::full({sizes.batch, sizes.heads, sizes.queries}, -kInfinity, call.query.options().dtype(at::kFloat));
  float* out = lse.mutable_data_ptr<float>();
  const RowTiles tiles(call.score, sizes.batch * sizes.heads, sizes.queries, sizes.keys, kTileRows);
  const std::int64_t shares = std::min<std::int64_t>(at::get_num_threads(), tiles.items());
  if (sizes.keys == 0) return with_learned_sink(call, lse);
  for_each_share(tiles, shares, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    if (begin >= end) return;
    Worker worker(operands);
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t head = item / tiles.tiles(), row = item % tiles.tiles() * kTileRows;
      worker.row_tile(head, row, std::min(kTileRows, sizes.queries - row), out + head * sizes.queries + row);
    }
  });
  return with_learned_sink(call, lse);
}

}  // namespace sinkscope
