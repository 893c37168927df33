// The CUDA kernel's walk over the attention matrix, on the CPU: every visible pair is covered exactly once by one
// thread, whatever the case.

#include <cstdint>
#include <vector>

#include "catch.h"
#include "kernels/cuda/tile_layout.h"
#include "kernels/cuda/tile_schedule.h"
#include "kernels/score_cases.h"

namespace sinkscope {
namespace {

/// Calls visit(key, row) for the tiles of a head, as the thread blocks of its parts do.
template <class Visit>
void for_each_tile(const ScoreFunction& score, std::int64_t queries, std::int64_t keys, std::int64_t parts,
                   const Visit& visit) {
  for (std::int64_t part = 0; part < parts; ++part)
    for (std::int64_t step = 0; step < key_block_steps(keys, parts); ++step) {
      const std::int64_t key = key_block(part, step, parts) * kCudaKeyTile;
      if (key >= keys) continue;
      const RowRange rows = rows_of_keys(score, key, keys, queries);
      for (std::int64_t i = 0; i < rows.steps(); ++i) visit(key, rows.row(i));
    }
}

std::int64_t tiles_of(const ScoreFunction& score, std::int64_t length) {
  std::int64_t tiles = 0;
  for_each_tile(score, length, length, 1, [&](std::int64_t, std::int64_t) { ++tiles; });
  return tiles;
}

/// Calls count(query, key) for every product of a tile that a thread adds to its sums.
template <class Count>
void for_each_counted(const ScoreFunction& score, std::int64_t row, std::int64_t queries, std::int64_t key,
                      std::int64_t keys, const std::uint8_t* key_visible, const Count& count) {
  const bool full = key_visible == nullptr && tile_is_full(score, row, queries, key, keys);
  for (int warp = 0; warp < kCudaWarps; ++warp)
    for (int lane = 0; lane < 32; ++lane)
      for (int group = 0; group < kCudaGroups; ++group)
        for (int element = 0; element < 4; ++element) {
          const std::int64_t i = row + warp * 16 + fragment_row(lane, element),
                             j = key + group * 8 + fragment_key(lane, element);
          if (full || pair_is_visible(score, i, queries, j, keys, key_visible)) count(i, j);
        }
}

/// Pairs that are not counted exactly once if visible and never otherwise.
std::int64_t wrong_pairs(const ScoreFunction& score, std::int64_t queries, std::int64_t keys, std::int64_t parts,
                         const std::uint8_t* key_visible) {
  std::vector<int> covered(static_cast<std::size_t>(queries * keys));
  std::int64_t wrong = 0;
  for_each_tile(score, queries, keys, parts, [&](std::int64_t key, std::int64_t row) {
    for_each_counted(score, row, queries, key, keys, key_visible, [&](std::int64_t i, std::int64_t j) {
      if (i < queries && j < keys)
        ++covered[static_cast<std::size_t>(i * keys + j)];
      else
        ++wrong;
    });
  });
  for (std::int64_t i = 0; i < queries; ++i)
    for (std::int64_t j = 0; j < keys; ++j) {
      const bool visible = score.visible(i, j, keys) && (key_visible == nullptr || key_visible[j] != 0);
      wrong += covered[static_cast<std::size_t>(i * keys + j)] != (visible ? 1 : 0);
    }
  return wrong;
}

}  // namespace

TEST_CASE("the CUDA kernel counts each visible pair of every case exactly once", "[kernels]") {
  for (const testing::ScoreCase& c : testing::score_cases()) {
    const AttentionCall call = testing::make_call(c, at::kFloat);
    for (const std::int64_t parts : {1, 3}) {
      CAPTURE(c.name, parts);
      CHECK(wrong_pairs(call.score, c.queries, c.keys, parts, nullptr) == 0);
      for (std::int64_t b = 0; call.key_padding && b < c.batch; ++b)
        CHECK(wrong_pairs(call.score, c.queries, c.keys, parts,
                          reinterpret_cast<const std::uint8_t*>((*call.key_padding)[b].const_data_ptr<bool>())) == 0);
    }
  }
}

TEST_CASE("the CUDA kernel counts each visible pair exactly once around the sizes of its tiles", "[kernels]") {
  for (const ScoreFunction& score :
       {ScoreFunction{}, ScoreFunction{.causal = true}, ScoreFunction{.causal = true, .window = 100},
        ScoreFunction{.causal = true, .window = 20, .chunk = 50}})
    for (const auto& [queries, keys] :
         {std::pair<std::int64_t, std::int64_t>{64, 128}, {65, 129}, {63, 127}, {300, 300}, {40, 500}, {500, 40}})
      for (const std::int64_t parts : {1, 2, 3, 7}) {
        CAPTURE(score.causal, score.window, score.chunk, queries, keys, parts);
        CHECK(wrong_pairs(score, queries, keys, parts, nullptr) == 0);
      }
}

TEST_CASE("the CUDA schedule touches no tile above the diagonal or far outside the window", "[kernels]") {
  const std::int64_t length = 4096;
  CHECK(tiles_of({}, length) == 64 * 32);
  CHECK(tiles_of({.causal = true}, length) == 32 * 33);  // two row tiles fewer with each key tile
  CHECK(tiles_of({.causal = true, .window = 128}, length) <= 32 * 4);
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
