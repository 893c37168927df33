#include <limits>
#include <utility>

#include "base/error.h"
#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

TEST_CASE("first_token_mass of the three-token fixture is 0.7, without query 0 it is 0.55, of the last query 0.5",
          "[first_token_mass]") {
  const Measurement m = measure("first_token_mass", one_head(kThree));
  CHECK(m.value.value() == near(0.7, 1e-12));
  CHECK(element(m, "excluding_first_query") == near(0.55, 1e-12));
  CHECK(element(m, "last_query") == near(0.5, 1e-12));
  CHECK(element(m, "tail") == near(0.7, 1e-12));  // the window of 64 covers all three queries
  CHECK(m.count == 1);
  CHECK(m.count_of == "sequence x site x head");
}

TEST_CASE("first_token_mass recovers the mass that was planted, query 0 included", "[first_token_mass]") {
  const Measurement m = measure("first_token_mass", one_head(planted_sink(64, 0.7)));
  CHECK(m.value.value() == near((1.0 + 63 * 0.7) / 64, 1e-12));  // query 0 can only see itself
  CHECK(element(m, "excluding_first_query") == near(0.7, 1e-12));
  CHECK(element(m, "last_query") == near(0.7, 1e-12));
}

TEST_CASE("uniform attention gives H_T / T, the published table", "[first_token_mass]") {
  const std::vector<std::pair<std::int64_t, double>> table = {
      {16, 0.2112955621},  {32, 0.1268279749},  {64, 0.0741232954},   {100, 0.0518737752}, {128, 0.0424464617},
      {256, 0.0239232225}, {512, 0.0133135089}, {1024, 0.0073331794}, {2048, 0.0040049213}};
  for (const auto& [length, expected] : table) {
    CAPTURE(length);
    const Visibility mask = Visibility::causal(length, length);
    CHECK(mask.uniform_column(0, 0, length) / static_cast<double>(length) == near(expected, 5e-11));
    if (length > 256) continue;  // the matrix itself is T x T
    const Measurement m = measure("first_token_mass", uniform_causal(length));
    CHECK(m.value.value() == near(expected, 5e-11));
    CHECK(m.uniform.value() == near(expected, 5e-11));
  }
}

TEST_CASE("under uniform causal attention every series equals its uniform value, and that is the closed form",
          "[first_token_mass]") {
  std::vector<Input> inputs = uniform_causal(100);
  inputs[0].ids.assign(100, 7);
  for (const std::size_t trigger : {1, 2, 50}) inputs[0].ids[trigger] = 9;
  const Measurement m =
      measure("first_token_mass", inputs, with("first_token_mass", {{"trigger", std::vector<std::int64_t>{9}}}));
  const double non_trigger = (harmonic(100) - 1.0 / 2 - 1.0 / 3 - 1.0 / 51) / 97;
  const std::vector<std::pair<std::string, double>> expected = {
      {"excluding_first_query", (harmonic(100) - 1) / 99},
      {"after_first_k", 4 * (harmonic(100) - harmonic(4)) / 96},
      {"tail", (harmonic(100) - harmonic(36)) / 64},
      {"last_query", 0.01},
      {"non_trigger", non_trigger}};
  REQUIRE(m.series.size() == expected.size());
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    CHECK(element(m, name) == near(value, 1e-12));
    CHECK(uniform_element(m, name) == near(value, 1e-12));
  }
}

TEST_CASE(
    "first_token_mass is (1 + (T - 1) excluding_first_query) / T and at least 1 / T for any causal rows that sum to "
    "one",
    "[first_token_mass]") {
  SplitMix64 random(3);
  for (const std::int64_t length : {2, 3, 17, 40}) {
    CAPTURE(length);
    const Measurement m =
        measure("first_token_mass", one_head(random_attention(Visibility::causal(length, length), random)));
    const auto t = static_cast<double>(length);
    CHECK(m.value.value() == near((1 + (t - 1) * element(m, "excluding_first_query")) / t, 1e-12));
    CHECK(m.value.value() >= 1 / t);
  }
}

TEST_CASE("after_first_k sums the first k keys over the queries from k on", "[first_token_mass]") {
  const Measurement m = measure("first_token_mass", one_head(kThree), with("first_token_mass", {{"k", 2}}));
  CHECK(element(m, "after_first_k") == near(0.8, 1e-12));
  CHECK(uniform_element(m, "after_first_k") == near(2.0 / 3, 1e-12));
}

TEST_CASE("tail averages the last window queries", "[first_token_mass]") {
  const Measurement m = measure("first_token_mass", one_head(kThree), with("first_token_mass", {{"window", 2}}));
  CHECK(element(m, "tail") == near(0.55, 1e-12));
  CHECK(uniform_element(m, "tail") == near((1.0 / 2 + 1.0 / 3) / 2, 1e-12));
}

TEST_CASE("series of first_token_mass are undefined, not 0, where no query is left", "[first_token_mass]") {
  const Measurement single = measure("first_token_mass", one_head({{1}}));
  CHECK(single.value.value() == 1);
  CHECK_FALSE(series(single, "excluding_first_query").data.at(0).has_value());
  CHECK_FALSE(series(single, "after_first_k").data.at(0).has_value());
  CHECK(single.rejected == 0);

  const Measurement four = measure("first_token_mass", uniform_causal(4));
  CHECK_FALSE(series(four, "after_first_k").data.at(0).has_value());  // T <= k
  CHECK(series(measure("first_token_mass", uniform_causal(5)), "after_first_k").data.at(0).has_value());

  std::vector<Input> triggers_only = uniform_causal(3);
  triggers_only[0].ids = {1, 1, 1};
  const Measurement none =
      measure("first_token_mass", triggers_only, with("first_token_mass", {{"trigger", std::vector<std::int64_t>{1}}}));
  CHECK_FALSE(series(none, "non_trigger").data.at(0).has_value());
}

TEST_CASE("without triggers there is no series non_trigger, and where rows sum to one none is renormalised",
          "[first_token_mass]") {
  const Measurement m = measure("first_token_mass", one_head(kThree));
  CHECK_THROWS(series(m, "non_trigger"));
  CHECK_THROWS(series(m, "renormalised"));
}

TEST_CASE("rows that sum to less than one are reported raw and renormalised", "[first_token_mass]") {
  Site site = causal_site({{{0.5, 0}, {0.2, 0.2}}});
  site.row_sum = "free";
  const Measurement m = measure("first_token_mass", {one_site(site)});
  CHECK(m.value.value() == near(0.35, 1e-12));
  CHECK(element(m, "renormalised") == near(0.75, 1e-12));
  CHECK(m.rejected == 0);
}

TEST_CASE("a window that hides key 0 counts the hidden rows as 0, so uniform attention gives H_W / T",
          "[first_token_mass]") {
  Site site{.heads = {}, .mask = Visibility::window(20, 5)};
  site.heads = {uniform_attention(site.mask)};
  const Measurement m = measure("first_token_mass", {one_site(site)});
  CHECK(m.value.value() == near(harmonic(5) / 20, 1e-12));
  CHECK(m.uniform.value() == near(harmonic(5) / 20, 1e-12));
  CHECK(element(m, "last_query") == 0);
}

TEST_CASE("a head with a NaN has no mass, is counted as rejected, and leaves the other head alone",
          "[first_token_mass]") {
  Matrix broken = kThree;
  broken[1][0] = std::numeric_limits<double>::quiet_NaN();
  const Measurement m = measure("first_token_mass", {one_site(causal_site({kThree, broken}))});
  CHECK(m.value.value() == near(0.7, 1e-12));
  CHECK(m.rejected == 1);
  CHECK(m.count == 1);
  CHECK_FALSE(m.per_head.at(0).at(1).has_value());
  CHECK_FALSE(series(m, "last_query").data.at(1).has_value());
}

TEST_CASE("where self and cross attention mix, the value is over self-attention and each group has its own",
          "[first_token_mass]") {
  Site cross{.heads = {{{0.2, 0.8}, {0.4, 0.6}, {0.6, 0.4}}}, .mask = Visibility::full(3, 2), .kind = "cross"};
  Input input = one_site(causal_site({kThree}));
  input.sites.push_back(cross);
  const Measurement m = measure("first_token_mass", {input});
  CHECK(m.value.value() == near(0.7, 1e-12));
  CHECK(m.count == 1);
  CHECK(m.per_sequence.at(0).value() == near(0.7, 1e-12));
  CHECK(m.per_site.at(1).value() == near(0.4, 1e-12));
  REQUIRE(m.by_group.size() == 2);
  CHECK(m.by_group[0].kind == "self");
  CHECK(m.by_group[1].kind == "cross");
  CHECK(m.by_group[1].mask == "none");
  CHECK(m.by_group[1].value.value() == near(0.4, 1e-12));
  CHECK(m.by_group[1].uniform.value() == near(0.5, 1e-12));
}

TEST_CASE("k and window below 1 are refused by name", "[first_token_mass]") {
  const MetricSpec& spec = find_metric("first_token_mass");
  CHECK_THROWS_WITH(spec.needs(with("first_token_mass", {{"k", 0}})), contains("first_token_mass.k"));
  CHECK_THROWS_AS(spec.needs(with("first_token_mass", {{"window", 0}})), UsageError);
}

TEST_CASE("heads of one site with other masks have divisors and uniform values of their own", "[first_token_mass]") {
  const Visibility causal = Visibility::causal(8, 8), window = Visibility::window(8, 2);
  // Head 2 does not see the first three rows at all, as behind left padding.
  const Visibility late =
      Visibility::other(MaskKind::other, 8, true, {0, 0, 0, 4, 5, 6, 7, 8}, 1, {0, 0, 0, 1, 1, 1, 1, 1});
  Matrix third = uniform_attention(causal);
  for (std::size_t i = 0; i < 3; ++i) third[i].assign(8, 0);
  const Site site{.heads = {uniform_attention(causal), uniform_attention(window), third},
                  .mask = causal,
                  .head_masks = {causal, window, late}};
  const Measurement m = measure("first_token_mass", {one_site(site)});
  const double values[] = {harmonic(8) / 8, 1.5 / 8, (harmonic(8) - harmonic(3)) / 5};
  const auto per_head = m.per_head.at(0);
  for (std::size_t h = 0; h < 3; ++h) CHECK(per_head.at(h).value() == near(values[h], 1e-12));
  CHECK(m.uniform.value() == near((values[0] + values[1] + values[2]) / 3, 1e-12));
  for (std::size_t h = 0; h < 2; ++h)
    CHECK(uniform_element(m, "excluding_first_query", h) == near(element(m, "excluding_first_query", h), 1e-12));
  CHECK(uniform_element(m, "last_query", 1) == 0);
  const Measurement entropy = measure("attention_entropy", {one_site(site)});
  CHECK(entropy.uniform.value() == near(entropy.value.value(), 1e-12));
}

TEST_CASE("non_trigger is undefined where the rows are no tokens", "[first_token_mass]") {
  std::vector<Input> inputs = one_head(kThree);
  inputs[0].tokens = false;
  const Measurement m =
      measure("first_token_mass", inputs, with("first_token_mass", {{"trigger", std::vector<std::int64_t>{5}}}));
  CHECK(m.value.value() == near(0.7, 1e-12));
  CHECK_FALSE(series(m, "non_trigger").data.at(0).has_value());
}
