#include "metric/visibility.h"

#include <cmath>
#include <stdexcept>

#include "catch.h"
#include "metric/fixtures.h"

using namespace sinkscope;
using synthetic::harmonic;

TEST_CASE("visible counts the keys that sees admits, for every mask", "[visibility]") {
  for (const Visibility& mask : {Visibility::full(5, 7), Visibility::causal(6, 6), Visibility::causal(6, 4),
                                 Visibility::window(9, 3), Visibility::window(3, 8), Visibility::chunk(10, 4)}) {
    CAPTURE(name_of(mask.kind()), mask.rows(), mask.keys());
    for (std::int64_t i = 0; i < mask.rows(); ++i) {
      std::int64_t seen = 0;
      for (std::int64_t k = 0; k < mask.keys(); ++k) seen += mask.sees(i, k) ? 1 : 0;
      CHECK(mask.visible(i) == std::min(seen, mask.keys()));
      CHECK_FALSE(mask.sees(i, mask.keys()));
    }
  }
}

TEST_CASE("a window hides key 0 from the queries at its width and beyond", "[visibility]") {
  const Visibility mask = Visibility::window(8, 3);
  CHECK(mask.sees(2, 0));
  CHECK_FALSE(mask.sees(3, 0));
}

TEST_CASE("a chunk begins anew at multiples of its width", "[visibility]") {
  const Visibility mask = Visibility::chunk(8, 3);
  CHECK(mask.sees(2, 0));
  CHECK_FALSE(mask.sees(3, 2));
  CHECK(mask.sees(4, 3));
  CHECK(mask.visible(3) == 1);
}

TEST_CASE("uniform alpha_k is (H_T - H_k) / (T - k) under causal attention", "[visibility]") {
  const Visibility mask = Visibility::causal(64, 64);
  for (const std::int64_t k : {0, 1, 9, 63}) {
    CAPTURE(k);
    CHECK(mask.alpha_rows(k) == 64 - k);
    CHECK(mask.uniform_column(k, 0, 64) == near(harmonic(64) - harmonic(k), 1e-12));
  }
  CHECK(mask.uniform_column(64, 0, 64) == 0);
}

TEST_CASE("the uniform mean of the first 1, 4 and 8 keys at T = 64 is the published one", "[visibility]") {
  const Visibility mask = Visibility::causal(64, 64);
  double sum = 0;
  for (std::int64_t k = 0; k < 8; ++k) {
    sum += mask.uniform_column(k, 0, 64) / 64;
    if (k == 0) CHECK(sum == near(0.0741232954, 5e-11));
    if (k == 3) CHECK(sum == near(0.2287848481, 5e-11));
    if (k == 7) CHECK(sum == near(0.3782542201, 5e-11));
  }
}

TEST_CASE("uniform columns are the column sums of uniform attention, for every mask, key and range of queries",
          "[visibility]") {
  for (const Visibility& mask : {Visibility::full(5, 7), Visibility::causal(6, 6), Visibility::causal(4, 9),
                                 Visibility::window(9, 3), Visibility::chunk(10, 4)}) {
    CAPTURE(name_of(mask.kind()));
    const synthetic::Matrix a = synthetic::uniform_attention(mask);
    for (std::int64_t k = 0; k < mask.keys(); ++k) {
      for (const std::int64_t begin : {0, 2}) {
        double expected = 0;
        for (std::int64_t i = begin; i < mask.rows(); ++i)
          expected += a[static_cast<std::size_t>(i)][static_cast<std::size_t>(k)];
        CHECK(mask.uniform_column(k, begin, mask.rows()) == near(expected, 1e-12));
      }
    }
  }
}

TEST_CASE("alpha divides by T - k where attention is causal, windowed or chunked, else by T", "[visibility]") {
  CHECK(Visibility::causal(8, 8).alpha_rows(3) == 5);
  CHECK(Visibility::window(8, 2).alpha_rows(3) == 5);
  CHECK(Visibility::chunk(8, 2).alpha_rows(3) == 5);
  CHECK(Visibility::full(8, 8).alpha_rows(3) == 8);
  CHECK(Visibility::causal(8, 8).alpha_rows(9) == 0);
}

TEST_CASE("rows that see nothing are no queries", "[visibility]") {
  // Two rows of left padding, then causal.
  const Visibility mask = Visibility::other(MaskKind::padding, 4, true, {0, 0, 1, 2}, 1, {0, 0, 0, 0});
  CHECK(mask.rows() == 4);
  CHECK(mask.queries() == 2);
  CHECK(mask.alpha_rows(3) == 1);
  CHECK(mask.uniform_column(0, 0, 4) == 0);
  CHECK(mask.uniform_entropy() == near(std::log(2.0) / 2, 1e-12));
  CHECK(std::isnan(mask.uniform_column(1, 0, 4)));  // only key 0 is known
  CHECK_THROWS_AS(mask.sees(2, 1), std::out_of_range);
}

TEST_CASE("a listed mask gives the uniform column of the keys it lists", "[visibility]") {
  const Visibility mask = Visibility::other(MaskKind::other, 3, false, {3, 2, 1}, 2, {1, 1, 0, 1, 1, 0});
  CHECK(mask.uniform_column(0, 0, 3) == near(1.0 / 3 + 1, 1e-12));
  CHECK(mask.uniform_column(1, 0, 3) == near(1.0 / 3 + 0.5, 1e-12));
  CHECK(mask.alpha_rows(1) == 3);
}

TEST_CASE("a mask without queries has no uniform entropy", "[visibility]") {
  CHECK(std::isnan(Visibility::causal(0, 0).uniform_entropy()));
  CHECK_THROWS_AS(Visibility::window(4, 0), std::invalid_argument);
}

TEST_CASE("alpha of a key that is no token divides by all queries, that of a token by those from it on",
          "[visibility]") {
  // One learned key, then four causal tokens; and the same with the learned key at the end.
  const std::vector<std::int64_t> visible = {2, 3, 4, 5};
  const Visibility before = Visibility::other(MaskKind::other, 5, true, visible, 3,
                                              {1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {.before = 1, .behind = 0});
  CHECK(before.alpha_rows(0) == 4);
  CHECK(before.alpha_rows(1) == 4);
  CHECK(before.alpha_rows(2) == 3);
  CHECK(before.uniform_column(0, 0, 4) == near(1.0 / 2 + 1.0 / 3 + 1.0 / 4 + 1.0 / 5, 1e-12));
  CHECK(before.uniform_column(2, 0, 4) == near(1.0 / 3 + 1.0 / 4 + 1.0 / 5, 1e-12));
  const Visibility behind =
      Visibility::other(MaskKind::other, 5, true, visible, 5,
                        {1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1}, {.before = 0, .behind = 1});
  CHECK(behind.alpha_rows(1) == 3);
  CHECK(behind.alpha_rows(4) == 4);
  CHECK(behind.uniform_column(4, 0, 4) == near(1.0 / 2 + 1.0 / 3 + 1.0 / 4 + 1.0 / 5, 1e-12));
}

TEST_CASE("whether the last row is a query", "[visibility]") {
  CHECK(Visibility::causal(3, 3).last_is_query());
  CHECK_FALSE(Visibility::causal(0, 0).last_is_query());
  CHECK_FALSE(Visibility::other(MaskKind::padding, 2, true, {1, 0}, 0, {}).last_is_query());
}
