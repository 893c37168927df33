#include <limits>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

TEST_CASE("the dominant key has the largest mean column, not the largest alpha", "[dominant_key]") {
  const Measurement m = measure("dominant_key", one_head(kTwo));  // columns (.55, .45), alpha (.55, .9)
  CHECK(element(m, "position") == 0);
  CHECK(element(m, "mass") == near(0.55, 1e-7));
  CHECK(m.value.value() == 1);
}

TEST_CASE("the three-token fixture is dominated by key 0 with mass 0.7", "[dominant_key]") {
  const Measurement m = measure("dominant_key", one_head(kThree));
  CHECK(element(m, "position") == 0);
  CHECK(element(m, "mass") == near(0.7, 1e-7));
  CHECK(uniform_element(m, "mass") == near(harmonic(3) / 3, 1e-12));
  CHECK(m.uniform.value() == 1);
  CHECK(m.count == 1);
  CHECK(m.count_of == "site x head");
  CHECK(m.per_sequence.empty());
}

TEST_CASE("dominant_key finds a sink that was planted at another key, its mass and its token", "[dominant_key]") {
  Input input = one_site(causal_site({planted_sink(20, 0.8, 5), planted_sink(20, 0.8)}));
  for (std::int64_t i = 0; i < 20; ++i) input.ids.push_back(100 + i);
  const Measurement m = measure("dominant_key", {input});
  CHECK(m.value.value() == 0.5);
  CHECK(element(m, "position", 0) == 5);
  CHECK(element(m, "mass", 0) == near(0.8 * 15 / 20, 1e-7));
  CHECK(element(m, "token_id", 0) == 105);
  CHECK(element(m, "token_id", 1) == 100);
  CHECK(m.per_head.at(0).at(0).value() == 0);
  CHECK(m.per_head.at(0).at(1).value() == 1);
}

TEST_CASE("of equal columns the lowest key is dominant, so uniform attention over all keys gives key 0",
          "[dominant_key]") {
  Site site{.heads = {}, .mask = Visibility::full(4, 4)};
  site.heads = {uniform_attention(site.mask)};
  CHECK(element(measure("dominant_key", {one_site(site)}), "position") == 0);
}

TEST_CASE("the dominant key is that of the mean over sequences, and has no interval", "[dominant_key]") {
  // Column 0 wins in two of three sequences, column 1 in the mean: (.55 + .55 + .05)/3 < (.45 + .45 + .95)/3.
  const Matrix late = {{0.1, 0.9}, {0, 1}};
  Site bidirectional{.heads = {late}, .mask = Visibility::full(2, 2)}, first = bidirectional;
  first.heads = {{{0.55, 0.45}, {0.55, 0.45}}};
  const Measurement m = measure("dominant_key", {one_site(first), one_site(first), one_site(bidirectional)});
  CHECK(element(m, "position") == 1);
  CHECK(m.value.value() == 0);
  CHECK_FALSE(m.ci95.has_value());
}

TEST_CASE("only sequences of the most frequent length take part, of equally frequent lengths the longest",
          "[dominant_key]") {
  const Input three = one_head(planted_sink(3, 0.9))[0], five = one_head(planted_sink(5, 0.9, 2))[0];
  CHECK(element(measure("dominant_key", {three, three, five}), "position") == 0);
  CHECK(element(measure("dominant_key", {three, five}), "position") == 2);
}

TEST_CASE("the token at the dominant key is null where sequences disagree about it", "[dominant_key]") {
  Input a = one_head(kThree)[0], b = a;
  a.ids = {7, 1, 2};
  b.ids = {8, 1, 2};
  CHECK(element(measure("dominant_key", {a, a}), "token_id") == 7);
  CHECK_FALSE(series(measure("dominant_key", {a, b}), "token_id").data.at(0).has_value());
}

TEST_CASE("a broken head is left out of the columns and counted", "[dominant_key]") {
  Matrix broken = kThree;
  broken[2][1] = std::numeric_limits<double>::quiet_NaN();
  const std::vector<Input> inputs = {one_site(causal_site({broken})), one_site(causal_site({kThree}))};
  const Measurement m = measure("dominant_key", inputs);
  CHECK(element(m, "mass") == near(0.7, 1e-7));
  CHECK(m.rejected == 1);
  const Measurement none = measure("dominant_key", {inputs[0]});
  CHECK_FALSE(none.value.has_value());
  CHECK_FALSE(series(none, "position").data.at(0).has_value());
}
