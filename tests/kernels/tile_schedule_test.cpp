// The CUDA kernel's walk over the attention matrix, on the CPU: every visible pair is covered exactly once, whatever
// the case.

#include <cstdint>
#include <vector>

#include "catch.h"
#include "kernels/cuda/tile_schedule.h"

namespace sinkscope {
namespace {

struct Walk {
  std::vector<int> covered;         // [queries, keys]
  bool full_tiles_are_full = true;  // every pair of a tile called full exists and is visible
  std::int64_t tiles = 0;
};

/// The loops of fused_statistics.cu with counting in place of the products.
Walk walk(const ScoreFunction& score, std::int64_t queries, std::int64_t keys, std::int64_t parts) {
  Walk result{.covered = std::vector<int>(static_cast<std::size_t>(queries * keys))};
  for (std::int64_t part = 0; part < parts; ++part)
    for (std::int64_t step = 0; step < key_block_steps(keys, parts); ++step) {
      const std::int64_t key = key_block(part, step, parts) * kCudaKeyTile;
      if (key >= keys) continue;
      const RowRange rows = rows_of_keys(score, key, keys, queries);
      for (std::int64_t row = rows.first; row < rows.end; row += kCudaRowTile) {
        ++result.tiles;
        const bool full = tile_is_full(score, row, queries, key, keys);
        for (std::int64_t i = row; i < row + kCudaRowTile; ++i)
          for (std::int64_t j = key; j < key + kCudaKeyTile; ++j) {
            const bool visible = i < queries && j < keys && score.visible(i, j, keys);
            if (full && !visible) result.full_tiles_are_full = false;
            if ((full || visible) && i < queries && j < keys) ++result.covered[static_cast<std::size_t>(i * keys + j)];
          }
      }
    }
  return result;
}

}  // namespace

TEST_CASE("the CUDA schedule covers each visible pair exactly once", "[kernels]") {
  const ScoreFunction scores[] = {{},
                                  {.causal = true},
                                  {.causal = true, .window = 1},
                                  {.causal = true, .window = 100},
                                  {.causal = true, .chunk = 96},
                                  {.causal = true, .window = 20, .chunk = 50}};
  for (const ScoreFunction& score : scores)
    for (const auto& [queries, keys] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                                        {64, 128},
                                        {65, 129},
                                        {300, 300},
                                        {700, 700},
                                        {40, 500},
                                        {500, 40},
                                        {1, 300},
                                        {300, 1}})
      for (const std::int64_t parts : {1, 2, 3, 7}) {
        CAPTURE(score.causal, score.window, score.chunk, queries, keys, parts);
        const Walk result = walk(score, queries, keys, parts);
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < queries; ++i)
          for (std::int64_t j = 0; j < keys; ++j)
            wrong += result.covered[static_cast<std::size_t>(i * keys + j)] != (score.visible(i, j, keys) ? 1 : 0);
        CHECK(wrong == 0);
        CHECK(result.full_tiles_are_full);
      }
}

TEST_CASE("the CUDA schedule touches no tile above the diagonal or far outside the window", "[kernels]") {
  const std::int64_t length = 4096;
  CHECK(walk({}, length, length, 1).tiles == 64 * 32);
  CHECK(walk({.causal = true}, length, length, 1).tiles == 32 * 33);  // two row tiles fewer with each key tile
  CHECK(walk({.causal = true, .window = 128}, length, length, 1).tiles <= 32 * 4);
}

TEST_CASE("parts of a head have about the same causal work", "[kernels]") {
  const std::int64_t keys = 128 * 64, parts = 8;
  std::vector<std::int64_t> work(parts);
  for (std::int64_t part = 0; part < parts; ++part)
    for (std::int64_t step = 0; step < key_block_steps(keys, parts); ++step)
      work[part] += 64 - key_block(part, step, parts);
  for (const std::int64_t part : work) CHECK(part == work[0]);
}

TEST_CASE("a head is split only as far as there are key tiles", "[kernels]") {
  CHECK(parts_of_head(1, 1000, 500) == 8);
  CHECK(parts_of_head(1, 1 << 20, 500) == 500);
  CHECK(parts_of_head(32, 1 << 20, 500) == 16);
  CHECK(parts_of_head(1000, 1 << 20, 500) == 1);
  CHECK(parts_of_head(1, 0, 500) == 1);
}

}  // namespace sinkscope
