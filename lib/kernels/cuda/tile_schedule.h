#pragma once
// Which tiles of the attention matrix the CUDA kernel visits, and in what order: host-device functions without state,
// so that CPU tests can walk every tile of every case (tests/kernels/tile_schedule_test.cpp).

#include <cstdint>

#include "kernels/score_function.h"

namespace sinkscope {

inline constexpr int kCudaRowTile = 64;   ///< queries in a step
inline constexpr int kCudaKeyTile = 128;  ///< keys that stay in shared memory

SINKSCOPE_HOST_DEVICE inline std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Key block of part `part` (of `parts`) in its round `step`: rounds run forward and backward in turn, so that with
/// causal attention, where early keys are seen by more queries, every part has about the same work. May be at or beyond
/// the number of blocks: skip it.
SINKSCOPE_HOST_DEVICE inline std::int64_t key_block(std::int64_t part, std::int64_t step, std::int64_t parts) {
  return step * parts + (step % 2 == 0 ? part : parts - 1 - part);
}
/// Rounds until no part has a block left.
SINKSCOPE_HOST_DEVICE inline std::int64_t key_block_steps(std::int64_t keys, std::int64_t parts) {
  return divide_up(divide_up(keys, kCudaKeyTile), parts);
}

struct RowRange {
  std::int64_t first, end;

  SINKSCOPE_HOST_DEVICE std::int64_t steps() const { return first < end ? divide_up(end - first, kCudaRowTile) : 0; }
  /// First row of the tile of a step.
  SINKSCOPE_HOST_DEVICE std::int64_t row(std::int64_t step) const { return first + step * kCudaRowTile; }
};

/// Queries, in whole row tiles, among which are all that see a key of [key, key + kCudaKeyTile); empty where first >=
/// end.
SINKSCOPE_HOST_DEVICE inline RowRange rows_of_keys(const ScoreFunction& score, std::int64_t key, std::int64_t keys,
                                                   std::int64_t queries) {
  const std::int64_t last = key + kCudaKeyTile < keys ? key + kCudaKeyTile - 1 : keys - 1;
  RowRange rows{0, queries};
  if (score.causal) rows.first = key / kCudaRowTile * kCudaRowTile;
  if (score.window > 0 && last + score.window < rows.end) rows.end = last + score.window;
  if (score.chunk > 0 && last / score.chunk * score.chunk + score.chunk < rows.end)
    rows.end = last / score.chunk * score.chunk + score.chunk;
  return rows;
}

/// Whether every query of [row, row + kCudaRowTile) exists and sees every key of [key, key + kCudaKeyTile), padding
/// aside.
SINKSCOPE_HOST_DEVICE inline bool tile_is_full(const ScoreFunction& score, std::int64_t row, std::int64_t queries,
                                               std::int64_t key, std::int64_t keys) {
  const std::int64_t last_row = row + kCudaRowTile - 1;
  return last_row < queries && key + kCudaKeyTile <= keys && score.first_key(last_row) <= key &&
         score.end_key(row, keys) >= key + kCudaKeyTile;
}

/// Whether the pair exists and is visible; `key_visible` [keys] hides padded keys, or is null.
SINKSCOPE_HOST_DEVICE inline bool pair_is_visible(const ScoreFunction& score, std::int64_t row, std::int64_t queries,
                                                  std::int64_t key, std::int64_t keys,
                                                  const std::uint8_t* key_visible) {
  return row < queries && key < keys && score.visible(row, key, keys) &&
         (key_visible == nullptr || key_visible[key] != 0);
}

/// Parts a head is split into, so that at least `blocks` thread blocks have work. Each part has row partials of its
/// own, so scratch is 12 bytes * queries * max(heads in all, about `blocks`): with 8 heads of 32768 queries and 132
/// multiprocessors 52 MB for every block that a multiprocessor holds.
SINKSCOPE_HOST_DEVICE inline std::int64_t parts_of_head(std::int64_t batch_heads, std::int64_t keys,
                                                        std::int64_t blocks) {
  const std::int64_t key_blocks = divide_up(keys, kCudaKeyTile),
                     wanted = batch_heads > 0 ? divide_up(blocks, batch_heads) : 1;
  return wanted < key_blocks ? wanted : key_blocks > 0 ? key_blocks : 1;
}

}  // namespace sinkscope
