#include "base/error.h"
#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

double rate(const std::vector<Input>& inputs,
            const std::vector<std::pair<std::string, ParameterValue>>& settings = {}) {
  return measure("sink_rate", inputs, with("sink_rate", settings)).value.value();
}

}  // namespace

TEST_CASE("the three-token fixture has alpha (.7, .35, .2): sinks at keys 0 and 1 for epsilon 0.3", "[sink_rate]") {
  const Measurement m = measure("sink_rate", one_head(kThree), with("sink_rate", {{"keys", 5}}));
  CHECK(m.value.value() == 1);
  // alpha_1 divides by T - 1: 0.7 / 2 = .35. The mean over T, 0.7 / 3 = .233, would be no sink.
  CHECK(element(m, "by_key", 0) == 1);
  CHECK(element(m, "by_key", 1) == 1);
  CHECK(element(m, "by_key", 2) == 0);
  CHECK_FALSE(series(m, "by_key").data.at(3).has_value());  // there is no key 3
  CHECK_FALSE(series(m, "by_key").data.at(4).has_value());
  CHECK(rate(one_head(kThree), {{"epsilon", 0.699}}) == 1);
  CHECK(rate(one_head(kThree), {{"epsilon", 0.701}}) == 0);
}

TEST_CASE("by_epsilon runs from 0.1 to 0.9 and its entry at epsilon is the value", "[sink_rate]") {
  const Measurement m = measure("sink_rate", one_head(kThree));
  const Series& curve = series(m, "by_epsilon");
  REQUIRE(curve.shape == std::vector<std::size_t>{9});
  REQUIRE(curve.coords.size() == 1);
  CHECK(curve.coords[0].values.front() == 0.1);
  CHECK(curve.coords[0].values[2] == 0.3);
  CHECK(curve.coords[0].values.back() == 0.9);
  CHECK(curve.data[5].value() == 1);  // 0.6 < alpha_0 = 0.7 < 0.8
  CHECK(curve.data[7].value() == 0);
  CHECK(curve.data[2] == m.value);
}

TEST_CASE("the comparator decides at the threshold itself", "[sink_rate]") {
  const std::vector<Input> half = one_head({{1, 0}, {0, 1}});  // alpha_0 is exactly 1/2
  CHECK(rate(half, {{"epsilon", 0.5}}) == 0);
  CHECK(rate(half, {{"epsilon", 0.5}, {"comparator", ">="}}) == 1);
}

TEST_CASE("the threshold comes before the mean over sequences", "[sink_rate]") {
  // alpha_0 = .2 and .5 have the mean .35 > .3, but only one of the two sequences has a sink.
  const std::vector<Input> inputs = {one_head(planted_sink(101, (0.2 * 101 - 1) / 100))[0],
                                     one_head(planted_sink(101, (0.5 * 101 - 1) / 100))[0]};
  const Measurement m = measure("sink_rate", inputs);
  CHECK(m.value.value() == 0.5);
  CHECK(m.per_sequence.at(0).value() == 0);
  CHECK(m.per_sequence.at(1).value() == 1);
  CHECK(m.per_head.at(0).at(0).value() == 0.5);
}

TEST_CASE("query 0 is in the mean, which lifts a head with mass .29 over epsilon .3 at T = 64", "[sink_rate]") {
  CHECK(rate(one_head(planted_sink(64, 0.29))) == 1);   // (1 + 63 * .29) / 64 = .3011
  CHECK(rate(one_head(planted_sink(64, 0.285))) == 0);  // .2962
}

TEST_CASE("uniform attention itself counts as a sink for T <= 9 at epsilon .3, and the uniform value says so",
          "[sink_rate]") {
  for (const std::int64_t length : {2, 9, 10, 64}) {
    CAPTURE(length);
    const Measurement m = measure("sink_rate", uniform_causal(length));
    const double expected = length <= 9 ? 1 : 0;
    CHECK(m.value.value() == expected);
    CHECK(m.uniform.value() == expected);
  }
}

TEST_CASE("alpha of a bidirectional site divides by all T queries", "[sink_rate]") {
  Site site{.heads = {{{0, 1}, {0.5, 0.5}}}, .mask = Visibility::full(2, 2)};
  // C_1 = 1.5: .75 over both queries; a causal denominator of T - 1 would make it 1.5.
  CHECK(rate({one_site(site)}, {{"key", 1}, {"epsilon", 0.74}}) == 1);
  CHECK(rate({one_site(site)}, {{"key", 1}, {"epsilon", 0.76}}) == 0);
}

TEST_CASE("alpha of windowed and chunked sites divides by T - k as well, hidden rows counting as 0", "[sink_rate]") {
  for (const Visibility& mask : {Visibility::window(6, 2), Visibility::chunk(6, 2)}) {
    CAPTURE(name_of(mask.kind()));
    Site site{.heads = {uniform_attention(mask)}, .mask = mask};
    // alpha_0 = (1 + 1/2) / 6 = .25
    CHECK(rate({one_site(site)}, {{"epsilon", 0.24}}) == 1);
    CHECK(rate({one_site(site)}, {{"epsilon", 0.26}}) == 0);
  }
}

TEST_CASE("sink_rate is undefined where no sequence is longer than the key", "[sink_rate]") {
  const Measurement m = measure("sink_rate", uniform_causal(3), with("sink_rate", {{"key", 3}}));
  CHECK_FALSE(m.value.has_value());
  CHECK(m.count == 0);
  CHECK(m.rejected == 0);
  CHECK_FALSE(m.uniform.has_value());
}

TEST_CASE("thresholds outside [0, 1] and negative keys are refused, a wrong comparator names the choices",
          "[sink_rate]") {
  const MetricSpec& spec = find_metric("sink_rate");
  CHECK_THROWS_AS(spec.needs(with("sink_rate", {{"epsilon", 1.5}})), UsageError);
  CHECK_THROWS_AS(spec.needs(with("sink_rate", {{"key", -1}})), UsageError);
  CHECK_THROWS_AS(spec.needs(with("sink_rate", {{"keys", 0}})), UsageError);
  CHECK_THROWS_WITH(parse_parameter("sink_rate", spec.parameters.at(2), "="), contains("sink_rate.comparator"));
}
