#include "metric/head_samples.h"

#include <limits>

#include "catch.h"
#include "metric/fixtures.h"

using namespace sinkscope;

namespace {

/// One (sequence, site) whose heads take the values given; everything else of an observation is not read here.
struct Sample {
  Sample(std::int64_t sequence_id, std::int64_t site, std::size_t heads, const std::string& kind = "self")
      : sequence{.id = SequenceId{sequence_id}, .ids = {}} {
    observation.sequence = &sequence;
    observation.site = SiteId{site};
    observation.query_heads = static_cast<std::int64_t>(heads);
    observation.kind = kind;
    observation.valid.assign(heads, 1);
  }
  Sample(const Sample&) = delete;
  Sequence sequence;
  SiteObservation observation;
};

void add(HeadSamples& samples, std::int64_t sequence, std::int64_t site, const std::vector<Number>& values,
         const std::string& kind = "self", double uniform = kNoUniform) {
  const Sample sample(sequence, site, values.size(), kind);
  for (std::size_t h = 0; h < values.size(); ++h) samples.add(sample.observation, h, values[h], uniform);
}

Layout layout(std::vector<std::pair<std::string, std::string>> kinds_and_masks) {
  Layout result;
  for (const auto& [kind, mask] : kinds_and_masks) {
    SiteInfo site;
    site.kind = kind;
    site.mask = mask;
    result.sites.push_back(site);
  }
  return result;
}

}  // namespace

TEST_CASE("the value is the unweighted mean over (sequence, site, head), so a site with more heads weighs more",
          "[head_samples]") {
  HeadSamples samples;
  add(samples, 0, 0, {1.0});
  add(samples, 0, 1, {0.0, 0.0, 0.5});
  const Measurement m = samples.measurement(layout({{"self", "causal"}, {"self", "causal"}}));
  CHECK(m.value.value() == near(0.375, 1e-12));  // the mean of the site means 1 and 1/6 would be .583
  CHECK(m.count == 4);
  CHECK(m.per_site.at(1).value() == near(0.5 / 3, 1e-12));
  CHECK(m.per_head.at(1).size() == 3);
  CHECK(m.by_group.empty());
}

TEST_CASE("per_sequence is in input order however the samples arrive", "[head_samples]") {
  HeadSamples samples;
  add(samples, 2, 1, {6.0});
  add(samples, 0, 0, {1.0});
  add(samples, 2, 0, {4.0});
  add(samples, 0, 1, {3.0});
  const Measurement m = samples.measurement(layout({{"self", "causal"}, {"self", "causal"}}));
  REQUIRE(m.per_sequence.size() == 3);
  CHECK(m.per_sequence[0].value() == 2);
  CHECK_FALSE(m.per_sequence[1].has_value());  // not seen (yet)
  CHECK(m.per_sequence[2].value() == 5);
}

TEST_CASE("an undefined sample leaves no trace, a NaN and an invalid head are counted as rejected", "[head_samples]") {
  HeadSamples samples;
  add(samples, 0, 0, {1.0, std::nullopt, std::numeric_limits<double>::quiet_NaN()});
  Sample invalid(1, 0, 3);
  invalid.observation.valid = {0, 1, 1};
  samples.add(invalid.observation, 0, 0.0);
  const Measurement m = samples.measurement(layout({{"self", "causal"}}));
  CHECK(m.value.value() == 1);
  CHECK(m.count == 1);
  CHECK(m.rejected == 2);
  CHECK_FALSE(m.per_head.at(0).at(1).has_value());
  CHECK_FALSE(m.per_head.at(0).at(2).has_value());
  CHECK_FALSE(m.per_sequence.at(1).has_value());
}

TEST_CASE("full and windowed self-attention share the value and have a group each", "[head_samples]") {
  HeadSamples samples;
  add(samples, 0, 0, {1.0}, "self", 0.5);
  add(samples, 0, 1, {0.0}, "self", 0.1);
  add(samples, 0, 2, {0.5}, "self", 0.3);
  const Measurement m = samples.measurement(layout({{"self", "causal"}, {"self", "window"}, {"self", "causal"}}));
  CHECK(m.value.value() == near(0.5, 1e-12));
  CHECK(m.uniform.value() == near(0.3, 1e-12));
  REQUIRE(m.by_group.size() == 2);
  CHECK(m.by_group[0].mask == "causal");
  CHECK(m.by_group[0].value.value() == near(0.75, 1e-12));
  CHECK(m.by_group[0].uniform.value() == near(0.4, 1e-12));
  CHECK(m.by_group[0].count == 2);
  CHECK(m.by_group[1].value.value() == 0);
}

TEST_CASE("cross attention is left out of value, per_sequence and interval as long as there is self-attention",
          "[head_samples]") {
  HeadSamples samples;
  for (const std::int64_t sequence : {0, 1}) {
    add(samples, sequence, 0, {0.25});
    add(samples, sequence, 1, {0.75}, "cross");
  }
  const Measurement m = samples.measurement(layout({{"self", "causal"}, {"cross", "none"}}));
  CHECK(m.value.value() == 0.25);
  CHECK(m.count == 2);
  CHECK(m.per_sequence.at(0).value() == 0.25);
  CHECK((*m.ci95)[1] == 0.25);
  CHECK(m.by_group.size() == 2);

  HeadSamples only_cross;
  add(only_cross, 0, 0, {0.75}, "cross");
  HeadSamples more;
  add(more, 1, 0, {0.25}, "cross");
  only_cross.merge(more);
  const Measurement cross = only_cross.measurement(layout({{"cross", "none"}}));
  CHECK(cross.value.value() == 0.5);
  CHECK(cross.per_sequence.at(0).value() == 0.75);
  CHECK(cross.per_sequence.at(1).value() == 0.25);
}

TEST_CASE("a site that was never called is null and makes no group", "[head_samples]") {
  HeadSamples samples;
  add(samples, 0, 0, {1.0});
  Layout sites = layout({{"self", "causal"}, {"self", "none"}});
  sites.sites[1].query_heads = 2;
  const Measurement m = samples.measurement(sites);
  CHECK_FALSE(m.per_site.at(1).has_value());
  CHECK(m.per_head.at(1).size() == 2);
  CHECK_FALSE(m.per_head.at(1).at(0).has_value());
  CHECK(m.by_group.empty());
}

TEST_CASE("a series is padded with nulls where sites differ in their heads", "[head_samples]") {
  HeadSamples samples;
  add(samples, 0, 0, {1.0});
  add(samples, 0, 1, {2.0, 3.0});
  const Series s = samples.table().series("x", "unit", layout({{"self", "causal"}, {"self", "causal"}}));
  CHECK(s.dims == std::vector<std::string>{"site", "head"});
  CHECK(s.shape == std::vector<std::size_t>{2, 2});
  CHECK(s.data[0].value() == 1);
  CHECK_FALSE(s.data[1].has_value());
  CHECK(s.data[3].value() == 3);
  CHECK(s.uniform.empty());
}

TEST_CASE("the uniform value is null as soon as one sample has none", "[head_samples]") {
  HeadSamples samples;
  add(samples, 0, 0, {1.0}, "self", 0.5);
  add(samples, 1, 0, {1.0});
  CHECK_FALSE(samples.measurement(layout({{"self", "causal"}})).uniform.has_value());
}
