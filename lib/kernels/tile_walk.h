#pragma once
// The walk that the CPU passes over Q K^T share: row tiles in shares for the threads, products strip by strip, and
// which pairs of a strip are visible.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/attention_call.h"
#include "kernels/check_call.h"
#include "kernels/row_tiles.h"
#include "kernels/tile_kernels.h"
#include "kernels/tile_product.h"

namespace sinkscope {

// A row tile's packed queries stay in the L2 cache while all keys pass by; a key block's products and one strip of
// queries stay near the L1 cache. Flat: 128 to 512 rows and 24 to 192 keys differ by 5 % (bench/kernel_bench.cpp).
inline constexpr std::int64_t kTileRows = 256;
inline constexpr std::int64_t kTileKeys = 96;

/// A call as the inner loops read it.
struct TileOperands {
  CallSizes sizes;
  ScoreFunction score;
  at::Tensor query, key;  ///< last dim contiguous
  at::Tensor padding;     ///< [B, K] bool contiguous, or undefined
  StripScore strip_score;
  double natural = 1;  ///< nats of a step of x: the scale or the soft cap
};

/// Of a call that fused_statistics_supports.
TileOperands tile_operands(const AttentionCall& call, const CallSizes& sizes);

/// One thread's way through row tiles. For each key tile of a row tile a visitor receives, in this order:
///   begin_keys(count)
///   strip(row, key, count, products, mask)  for each strip that sees some of its keys: the first row and key, counted
///                                           from the starts of the tiles; products [count, strip_rows()] may be
///                                           overwritten
///   end_keys(first, count)                  first: counted from the start of the sequence
class TileWalk {
 public:
  explicit TileWalk(const TileOperands& operands);

  /// Rows [row, row + rows) of head number b * H + h, at most kTileRows.
  template <class Visitor>
  void row_tile(std::int64_t batch_head, std::int64_t row, std::int64_t rows, Visitor& visitor) {
    begin_tile(batch_head, row, rows);
    const KeyRange range = key_range(operands_.score, row, rows, operands_.sizes.keys);
    for (std::int64_t j = range.first; j < range.end; j += kTileKeys) {
      const std::int64_t keys = std::min(kTileKeys, range.end - j);
      set_keys(batch_head, j, keys);
      visitor.begin_keys(keys);
      for (std::int64_t r = 0; r < rows; r += strip_) {
        const Seen seen = multiply(row + r, r / strip_, std::min(strip_, rows - r), j, keys);
        if (seen.begin < seen.end) visitor.strip(r, seen.begin - j, seen.end - seen.begin, products_.data(), seen.mask);
      }
      visitor.end_keys(j, keys);
    }
  }

 private:
  /// Keys [begin, end) that some row of a strip sees.
  struct Seen {
    std::int64_t begin, end;
    StripMask mask;
  };

  void begin_tile(std::int64_t batch_head, std::int64_t row, std::int64_t rows);
  void set_keys(std::int64_t batch_head, std::int64_t key, std::int64_t keys);
  Seen multiply(std::int64_t row, std::int64_t strip, std::int64_t rows, std::int64_t key, std::int64_t keys);

  const TileOperands& operands_;
  std::int64_t strip_;
  TileProduct product_;
  std::vector<float> products_;             // [kTileKeys, strip]
  std::vector<std::int32_t> first_, last_;  // [strip]
  const bool* visible_ = nullptr;           // [K] of the sequence
};

/// Calls run(share, first item, end item) for the shares of all threads; a share may be empty.
template <class Run>
void for_each_share(const RowTiles& tiles, std::int64_t shares, const Run& run) {
  at::parallel_for(0, shares, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t share = begin; share < end; ++share)
      run(share, tiles.begin_of_share(share, shares), tiles.begin_of_share(share + 1, shares));
  });
}

}  // namespace sinkscope
