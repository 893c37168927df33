#include <algorithm>
#include <limits>

#include "base/error.h"
#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

/// Two query heads that share one KV head, four queries.
Input two_heads() {
  Site site = causal_site({planted_sink(4, 0.9), uniform_attention(Visibility::causal(4, 4))});
  site.key_norms = {{1, 1, 1, 1}};
  site.value_norms = {{1, 3, 5, 7}};
  site.head_output_norms = {{1, 1, 1, 1}, {3, 3, 3, 7}};
  return one_site(site);
}

Parameters by(const std::string& score, double threshold) {
  return with("dormant_head", {{"score", score}, {"threshold", threshold}});
}

}  // namespace

TEST_CASE("the six raw scores of dormant_head are those of the paper, norms of values repeated for the query heads",
          "[dormant_head]") {
  const Measurement m = measure("dormant_head", {two_heads()});
  CHECK(element(m, "awft", 0) == near((1 + 3 * 0.9) / 4, 1e-12));
  CHECK(element(m, "awft", 1) == near(harmonic(4) / 4, 1e-12));
  CHECK(element(m, "aeqd", 1) == near(std::log(24.0) / 4, 1e-12));  // ln 1 + ln 2 + ln 3 + ln 4
  for (const std::size_t head : {0U, 1U}) {
    CHECK(element(m, "ftvvn", head) == 1);
    CHECK(element(m, "avvn", head) == near(4, 1e-12));  // value 0 is in the mean
  }
  CHECK(element(m, "lthon", 1) == 7);
  CHECK(element(m, "ahon", 0) == near(1, 1e-12));
  CHECK(element(m, "ahon", 1) == near(4, 1e-12));
  CHECK(m.series.size() == 12);
}

TEST_CASE("LN divides by the mean over the heads of the layer, lthon_ln by the mean of ahon", "[dormant_head]") {
  const Measurement m = measure("dormant_head", {two_heads()});
  CHECK(element(m, "ahon_ln", 0) == near(0.4, 1e-12));
  CHECK(element(m, "ahon_ln", 1) == near(1.6, 1e-12));
  CHECK(element(m, "lthon_ln", 0) == near(1 / 2.5, 1e-12));
  CHECK(element(m, "lthon_ln", 1) == near(7 / 2.5, 1e-12));  // not 7 / 4, the mean of lthon
  for (const char* score : {"awft_ln", "aeqd_ln", "ftvvn_ln", "avvn_ln", "ahon_ln"}) {
    CAPTURE(score);
    CHECK((element(m, score, 0) + element(m, score, 1)) / 2 == near(1, 1e-12));
  }
}

TEST_CASE("LN divides in each sequence, before the mean over sequences", "[dormant_head]") {
  Input a = two_heads(), b = two_heads();
  a.sites[0].head_output_norms = {{1, 1, 1, 1}, {3, 3, 3, 3}};          // .5, 1.5
  b.sites[0].head_output_norms = {{90, 90, 90, 90}, {10, 10, 10, 10}};  // 1.8, .2
  const Measurement m = measure("dormant_head", {a, b});
  CHECK(element(m, "ahon_ln", 0) == near(1.15, 1e-12));  // dividing the means would give 1.75
  CHECK(m.value.value() == 0.25);                        // 0.2 only: 0.5 is not below 0.5
}

TEST_CASE("LN divides at each site by itself", "[dormant_head]") {
  Input input = two_heads();
  input.sites.push_back(input.sites[0]);
  for (auto& norms : input.sites[1].head_output_norms)
    for (double& x : norms) x *= 100;
  const Measurement m = measure("dormant_head", {input});
  CHECK(element(m, "ahon_ln", 0) == near(element(m, "ahon_ln", 2), 1e-12));
}

TEST_CASE("awft scores mark heads above the threshold, all other scores heads below it", "[dormant_head]") {
  const auto dormant = [](const std::string& score, double threshold) {
    const Measurement m = measure("dormant_head", {two_heads()}, by(score, threshold));
    return std::vector<double>{m.per_head.at(0).at(0).value(), m.per_head.at(0).at(1).value()};
  };
  CHECK(dormant("awft", 0.8) == std::vector<double>{1, 0});
  CHECK(dormant("awft_ln", 1.0) == std::vector<double>{1, 0});
  CHECK(dormant("ahon", 2.0) == std::vector<double>{1, 0});
  CHECK(dormant("aeqd", 0.6) == std::vector<double>{1, 0});
  CHECK(dormant("lthon_ln", 0.5) == std::vector<double>{1, 0});
  CHECK(dormant("ftvvn", 2.0) == std::vector<double>{1, 1});
  CHECK(dormant("avvn", 2.0) == std::vector<double>{0, 0});
}

TEST_CASE("dormant_head has a uniform value for the attention scores only", "[dormant_head]") {
  const Measurement m = measure("dormant_head", {two_heads()}, by("awft", 0.5));
  CHECK(m.uniform.value() == 1);  // H_4 / 4 = .52 > .5
  CHECK(uniform_element(m, "awft") == near(harmonic(4) / 4, 1e-12));
  CHECK(uniform_element(m, "aeqd_ln") == 1);
  CHECK(series(m, "ahon").uniform.empty());
  CHECK_FALSE(measure("dormant_head", {two_heads()}).uniform.has_value());
}

TEST_CASE("an LN score is undefined where the layer mean is 0", "[dormant_head]") {
  Input input = two_heads();
  input.sites[0].head_output_norms = {{0, 0, 0, 0}, {0, 0, 0, 0}};
  const Measurement m = measure("dormant_head", {input});
  CHECK_FALSE(m.value.has_value());
  CHECK_FALSE(series(m, "ahon_ln").data.at(0).has_value());
  CHECK(element(m, "ahon") == 0);
  CHECK(m.rejected == 0);
}

TEST_CASE("a broken head takes no part in the layer mean", "[dormant_head]") {
  Input input = two_heads();
  input.sites[0].heads[0][2][0] = std::numeric_limits<double>::quiet_NaN();
  const Measurement m = measure("dormant_head", {input});
  CHECK(element(m, "ahon_ln", 1) == near(1, 1e-12));
  CHECK_FALSE(series(m, "ahon_ln").data.at(0).has_value());
  CHECK(m.count == 1);
  CHECK(m.rejected == 1);
}

TEST_CASE("leaving out aeqd and aeqd_ln saves the entropy pass", "[dormant_head]") {
  const MetricSpec& spec = find_metric("dormant_head");
  CHECK(spec.needs(Parameters(spec.parameters)).entropy);
  const std::vector<std::string> quick = {"awft", "ahon", "ahon_ln"};
  const Needs needs = spec.needs(with("dormant_head", {{"scores", quick}}));
  CHECK_FALSE(needs.full_pass());
  CHECK_FALSE(needs.value_norms);
  CHECK(needs.first_keys == 1);
  CHECK(measure("dormant_head", {two_heads()}, with("dormant_head", {{"scores", quick}})).series.size() == 3);
}

TEST_CASE("a score that is not among the scores is refused by needs and by make", "[dormant_head]") {
  const MetricSpec& spec = find_metric("dormant_head");
  const Parameters p = with("dormant_head", {{"scores", std::vector<std::string>{"awft"}}});
  CHECK_THROWS_WITH(spec.needs(p), contains("dormant_head.score"));
  CHECK_THROWS_AS(spec.make(p, RunShape{}), UsageError);
}
