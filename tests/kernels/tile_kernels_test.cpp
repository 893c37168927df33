// The parts of the fused pass that need no tensor: exponential, hyperbolic tangent, and who does which row tile.

#include <cmath>
#include <string>
#include <vector>

#include "catch.h"
#include "kernels/row_tiles.h"
#include "kernels/tile_kernels.h"

namespace sinkscope {

TEST_CASE("exp2 errs by less than 2.5e-7 and tanh by less than 5e-7 on every instruction set", "[kernels]") {
  std::vector<float> powers, angles;
  for (double x = -126; x <= 2; x += 0.00371) powers.push_back(static_cast<float>(x));
  for (double x = -12; x <= 12; x += 0.00037) angles.push_back(static_cast<float>(x));
  std::vector<float> out(std::max(powers.size(), angles.size()));
  for (const std::string_view set : instruction_sets()) {
    CAPTURE(set);
    restrict_instruction_set(set);
    exp2_values(powers.data(), static_cast<std::int64_t>(powers.size()), out.data());
    double worst = 0;
    for (std::size_t i = 0; i < powers.size(); ++i)
      worst = std::max(worst, std::abs(out[i] / std::exp2(static_cast<double>(powers[i])) - 1));
    CHECK(worst < 2.5e-7);
    tanh_values(angles.data(), static_cast<std::int64_t>(angles.size()), out.data());
    worst = 0;
    for (std::size_t i = 0; i < angles.size(); ++i)
      if (angles[i] != 0) worst = std::max(worst, std::abs(out[i] / std::tanh(static_cast<double>(angles[i])) - 1));
    CHECK(worst < 5e-7);
    const float odd[] = {-INFINITY, NAN, -1000};
    exp2_values(odd, 3, out.data());
    CHECK(out[0] < 2e-38F);
    CHECK(std::isnan(out[1]));
    CHECK(out[2] < 2e-38F);
    tanh_values(odd, 3, out.data());
    CHECK(out[0] == -1);
    CHECK(std::isnan(out[1]));
  }
  restrict_instruction_set("");
}

TEST_CASE("key ranges of a tile hold every visible pair and call inner only what all its rows see", "[kernels]") {
  for (const ScoreFunction& score :
       {ScoreFunction{}, ScoreFunction{.causal = true}, ScoreFunction{.causal = true, .window = 7},
        ScoreFunction{.causal = true, .chunk = 10}, ScoreFunction{.causal = true, .window = 3, .chunk = 5}})
    for (const std::int64_t keys : {1, 20, 50})
      for (std::int64_t row = 0; row < 40; row += 6) {
        const KeyRange range = key_range(score, row, 6, keys);
        for (std::int64_t j = 0; j < keys; ++j) {
          int seen = 0;
          for (std::int64_t i = row; i < row + 6; ++i) seen += score.visible(i, j, keys) ? 1 : 0;
          if (j < range.first || j >= range.end) CHECK(seen == 0);
          if (j >= range.inner_first && j < range.inner_end) CHECK(seen == 6);
        }
      }
}

TEST_CASE("shares of the row tiles cover each item once and cost about the same", "[kernels]") {
  for (const std::int64_t heads : {1, 3, 40})
    for (const std::int64_t queries : {1, 255, 256, 5000})
      for (const std::int64_t shares : {1, 2, 7, 64}) {
        const RowTiles tiles({.causal = true}, heads, queries, queries, 256);
        CHECK(tiles.begin_of_share(0, shares) == 0);
        CHECK(tiles.begin_of_share(shares, shares) == tiles.items());
        for (std::int64_t i = 0; i < shares; ++i)
          CHECK(tiles.begin_of_share(i, shares) <= tiles.begin_of_share(i + 1, shares));
      }
  const RowTiles one_head({.causal = true}, 1, 256 * 100, 256 * 100, 256);
  CHECK(std::abs(one_head.begin_of_share(1, 2) - 71) <=
        1);  // half the area of a triangle lies below 1 / sqrt 2 of its height
}

}  // namespace sinkscope
