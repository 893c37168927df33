#pragma once
// Which (head, row tile) pairs each thread of the fused pass takes: contiguous runs of equal cost, so that one long
// sequence with few heads keeps all threads busy and a head is split between few of them. Plain arithmetic, tested
// without tensors.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/score_function.h"

namespace sinkscope {

/// Keys [first, end) that some query of rows [row, row + rows) may see, and [inner_first, inner_end) that all of them
/// see.
struct KeyRange {
  std::int64_t first, end, inner_first, inner_end;
};

inline KeyRange key_range(const ScoreFunction& score, std::int64_t row, std::int64_t rows, std::int64_t keys) {
  // Both bounds of a row grow with the row.
  const std::int64_t last = row + rows - 1;
  return {score.first_key(row), score.end_key(last, keys), score.first_key(last), score.end_key(row, keys)};
}

/// Work items head * tiles + tile, of `heads` heads with the same score function.
class RowTiles {
 public:
  RowTiles(const ScoreFunction& score, std::int64_t heads, std::int64_t queries, std::int64_t keys,
           std::int64_t tile_rows)
      : heads_(heads), cost_before_{0} {
    for (std::int64_t row = 0; row < queries; row += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, queries - row);
      const KeyRange range = key_range(score, row, rows, keys);
      cost_before_.push_back(cost_before_.back() +
                             rows * (std::max<std::int64_t>(range.end - range.first, 0) + kRowCost));
    }
  }

  std::int64_t tiles() const { return static_cast<std::int64_t>(cost_before_.size()) - 1; }
  std::int64_t items() const { return heads_ * tiles(); }

  /// First item of share `index` of `count`; share `count` begins at items().
  std::int64_t begin_of_share(std::int64_t index, std::int64_t count) const {
    if (index >= count || items() == 0) return items();
    const double per_head = static_cast<double>(cost_before_.back());
    const double target =
        per_head * static_cast<double>(heads_) * static_cast<double>(index) / static_cast<double>(count);
    const std::int64_t head = std::min(static_cast<std::int64_t>(target / per_head), heads_ - 1);
    const double within = target - static_cast<double>(head) * per_head;
    const auto tile =
        std::lower_bound(cost_before_.begin(), cost_before_.end() - 1, within,
                         [](std::int64_t cost, double wanted) { return static_cast<double>(cost) < wanted; });
    return head * tiles() + (tile - cost_before_.begin());
  }

 private:
  static constexpr std::int64_t kRowCost = 16;  // packing a query, in units of one pair
  std::int64_t heads_;
  std::vector<std::int64_t> cost_before_;  // [tiles + 1] of one head
};

}  // namespace sinkscope
