// Laws that hold for every metric. A new metric is covered with no edit.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::uint64_t kSeed = 17;

Matrix random_norms(std::size_t rows, std::int64_t columns, SplitMix64& random) {
  Matrix norms(rows, std::vector<double>(static_cast<std::size_t>(columns)));
  for (auto& row : norms)
    for (double& x : row) x = 0.1 + random.unit();
  return norms;
}

/// A sequence that has something for every metric: causal and windowed self-attention with GQA, cross attention, a
/// learned sink, marked weights, streams with a massive element, loss and a Jacobian.
Input rich_input(std::int64_t length, SplitMix64& random) {
  Input input{.ids = {}};
  for (std::int64_t i = 0; i < length; ++i)
    input.ids.push_back(i == 0 ? 9 : static_cast<std::int64_t>(random.below(3)));
  for (const Visibility& mask :
       {Visibility::causal(length, length), Visibility::window(length, 3), Visibility::full(length, 6)}) {
    Site site{.heads = {}, .mask = mask};
    for (int h = 0; h < 4; ++h) site.heads.push_back(random_attention(mask, random));
    if (mask.kind() == MaskKind::none) site.kind = "cross";
    site.key_norms = random_norms(2, mask.keys(), random);
    site.value_norms = random_norms(2, mask.keys(), random);
    site.head_output_norms = random_norms(4, length, random);
    input.sites.push_back(site);
  }
  Site with_sink{.heads = {}, .mask = Visibility::causal(length, length), .row_sum = "with_sink"};
  for (int h = 0; h < 4; ++h) {
    with_sink.heads.push_back(random_attention(with_sink.mask, random));
    for (auto& row : with_sink.heads.back())
      for (double& a : row) a *= 0.8;
  }
  input.sites.push_back(with_sink);
  Site marked{.heads = {}, .mask = Visibility::full(length, length), .marked = true};
  for (int h = 0; h < 2; ++h) marked.heads.push_back(random_attention(marked.mask, random));
  input.sites.push_back(marked);
  for (int s = 0; s < 2; ++s) input.streams.push_back(random_norms(static_cast<std::size_t>(length), 3, random));
  input.streams[1][0][1] = -5000;
  input.nll_sum = static_cast<double>(length) * random.unit();
  input.targets = {length - 1};
  input.jacobian = random_norms(1, length, random);
  return input;
}

std::vector<Input> rich_inputs() {
  SplitMix64 random(kSeed);
  std::vector<Input> inputs;
  for (const std::int64_t length : {8, 8, 11, 8, 8, 5}) inputs.push_back(rich_input(length, random));
  return inputs;
}

std::unique_ptr<Metric> fresh(const MetricSpec& spec, const std::vector<Input>& inputs) {
  return spec.make(Parameters(spec.parameters), shape_of(inputs));
}

std::unique_ptr<Metric> fed(const MetricSpec& spec, const std::vector<Input>& inputs, std::size_t begin,
                            std::size_t end) {
  auto metric = fresh(spec, inputs);
  feed(*metric, spec.needs(Parameters(spec.parameters)), inputs, begin, end);
  return metric;
}

void check_same(const Number& a, const Number& b) {
  REQUIRE(a.has_value() == b.has_value());
  if (a) CHECK(*a == near(*b, 1e-12 * std::max(1.0, std::abs(*b))));
}

void check_same(const std::vector<Number>& a, const std::vector<Number>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) check_same(a[i], b[i]);
}

void check_same(const Measurement& a, const Measurement& b) {
  check_same(a.value, b.value);
  check_same(a.uniform, b.uniform);
  REQUIRE(a.ci95.has_value() == b.ci95.has_value());
  for (std::size_t i = 0; a.ci95 && i < 2; ++i) check_same(Number((*a.ci95)[i]), Number((*b.ci95)[i]));
  CHECK(a.count == b.count);
  CHECK(a.rejected == b.rejected);
  check_same(a.per_sequence, b.per_sequence);
  check_same(a.per_site, b.per_site);
  REQUIRE(a.per_head.size() == b.per_head.size());
  for (std::size_t s = 0; s < a.per_head.size(); ++s) check_same(a.per_head[s], b.per_head[s]);
  REQUIRE(a.by_group.size() == b.by_group.size());
  for (std::size_t g = 0; g < a.by_group.size(); ++g) {
    CHECK(a.by_group[g].kind == b.by_group[g].kind);
    CHECK(a.by_group[g].mask == b.by_group[g].mask);
    CHECK(a.by_group[g].count == b.by_group[g].count);
    check_same(a.by_group[g].value, b.by_group[g].value);
  }
  REQUIRE(a.series.size() == b.series.size());
  for (std::size_t s = 0; s < a.series.size(); ++s) {
    CAPTURE(a.series[s].name);
    CHECK(a.series[s].shape == b.series[s].shape);
    check_same(a.series[s].data, b.series[s].data);
    check_same(a.series[s].uniform, b.series[s].uniform);
  }
  REQUIRE(a.records.size() == b.records.size());
  for (std::size_t r = 0; r < a.records.size(); ++r) CHECK(a.records[r].rows == b.records[r].rows);
}

std::size_t product(const std::vector<std::size_t>& shape) {
  std::size_t n = 1;
  for (const std::size_t extent : shape) n *= extent;
  return n;
}

}  // namespace

TEST_CASE("halves merged are the whole, wherever the sequences are split, for every metric", "[metric]") {
  CAPTURE(kSeed);
  std::vector<Input> inputs = rich_inputs();
  // One broken sample of each sort on both sides of a split, so that their counts must add up.
  for (const std::size_t i : {0U, 4U}) {
    for (Site& site : inputs[i].sites) site.heads[0][0][0] = site.heads[1][0][0] = kNaN;
    inputs[i].streams[0][0][0] = kNaN;
    inputs[i].nll_sum = kNaN;
    inputs[i].jacobian[0][0] = kNaN;
  }
  const Layout layout = layout_of(inputs);
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    const Measurement whole = fed(spec, inputs, 0, inputs.size())->result(layout);
    REQUIRE(whole.value.has_value());
    CHECK(whole.rejected > 1);
    for (const std::size_t split : {std::size_t{1}, std::size_t{3}, inputs.size() - 1}) {
      CAPTURE(split);
      const auto left = fed(spec, inputs, 0, split);
      left->merge(*fed(spec, inputs, split, inputs.size()));
      check_same(left->result(layout), whole);
      // Another process may have had the first half.
      const auto right = fed(spec, inputs, split, inputs.size());
      right->merge(*fed(spec, inputs, 0, split));
      check_same(right->result(layout), whole);
    }
  }
}

TEST_CASE("the empty state is the identity of merge on both sides, for every metric", "[metric]") {
  const std::vector<Input> inputs = rich_inputs();
  const Layout layout = layout_of(inputs);
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    const auto metric = fed(spec, inputs, 0, inputs.size());
    const Measurement before = metric->result(layout);
    metric->merge(*fresh(spec, inputs));
    check_same(metric->result(layout), before);
    const auto empty = fresh(spec, inputs);
    empty->merge(*metric);
    check_same(empty->result(layout), before);
  }
}

TEST_CASE("nothing seen, nothing said: an empty state of any metric has no value and no evidence", "[metric]") {
  const std::vector<Input> inputs = rich_inputs();
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    for (const Layout& layout : {Layout{}, layout_of(inputs)}) {
      const Measurement m = fresh(spec, inputs)->result(layout);
      CHECK_FALSE(m.value.has_value());
      CHECK_FALSE(m.uniform.has_value());
      CHECK_FALSE(m.ci95.has_value());
      CHECK(m.count == 0);
      CHECK(m.rejected == 0);
      for (const Series& s : m.series)
        CHECK(std::none_of(s.data.begin(), s.data.end(), [](const Number& x) { return x.has_value(); }));
    }
  }
}

TEST_CASE("every series has as many values as its shape says, and a coordinate for every point of its dims",
          "[metric]") {
  const std::vector<Input> inputs = rich_inputs();
  for (const MetricSpec& spec : all_metrics()) {
    const Measurement m = measure(spec, inputs);
    CHECK(m.count > 0);
    CHECK_FALSE(m.count_of.empty());
    for (const Series& s : m.series) {
      CAPTURE(spec.name, s.name);
      CHECK(s.dims.size() == s.shape.size());
      CHECK(s.data.size() == product(s.shape));
      CHECK((s.uniform.empty() || s.uniform.size() == s.data.size()));
      CHECK_FALSE(s.unit.empty());
      CHECK(std::any_of(s.data.begin(), s.data.end(), [](const Number& x) { return x.has_value(); }) ==
            (spec.name != "mixing_jacobian" || s.name == "by_distance"));  // its arrays are null where lengths differ
      for (const Coordinate& c : s.coords) {
        const auto dim = std::find(s.dims.begin(), s.dims.end(), c.dim);
        REQUIRE(dim != s.dims.end());
        CHECK(c.values.size() == s.shape[static_cast<std::size_t>(dim - s.dims.begin())]);
      }
    }
  }
}

TEST_CASE("the value of a mean over sequences is rebuilt from per_sequence, inside its interval", "[metric]") {
  SplitMix64 random(kSeed);
  std::vector<Input> inputs;  // of equal length, so that all sequences have the same number of samples
  for (int i = 0; i < 5; ++i) inputs.push_back(rich_input(8, random));
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    const Measurement m = measure(spec, inputs);
    if (m.ci95) {
      CHECK((*m.ci95)[0] <= *m.value);
      CHECK(*m.value <= (*m.ci95)[1]);
    }
    CHECK(m.ci95.has_value() == (spec.name != "dominant_key"));
    CHECK_FALSE(measure(spec, {inputs[0]}).ci95.has_value());
    if (m.per_sequence.empty()) continue;
    REQUIRE(m.per_sequence.size() == inputs.size());
    double sum = 0;
    for (const Number& x : m.per_sequence) sum += x.value();
    CHECK(sum / 5 == near(*m.value, 1e-12));
  }
}

TEST_CASE("uniform attention gives its uniform value in every metric that has one", "[metric]") {
  std::vector<Input> inputs = rich_inputs();
  for (Input& input : inputs)
    for (Site& site : input.sites)
      for (Matrix& head : site.heads) head = uniform_attention(site.mask);
  std::set<std::string> with_uniform;
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    const Measurement m = measure(spec, inputs);
    if (m.uniform) {
      with_uniform.insert(spec.name);
      check_same(m.value, m.uniform);
      for (const GroupValue& group : m.by_group) check_same(group.value, group.uniform);
    }
    for (const Series& s : m.series) {
      CAPTURE(s.name);
      for (std::size_t i = 0; i < s.uniform.size(); ++i)
        if (s.uniform[i])
          CHECK(s.data[i].value() == near(*s.uniform[i], s.name == "mass" ? 1e-6 : 1e-12));  // columns are float
    }
  }
  for (const char* name : {"first_token_mass", "sink_rate", "dominant_key", "attention_entropy"}) {
    CAPTURE(name);
    CHECK(with_uniform.count(name) == 1);
  }
}

TEST_CASE("broken samples are counted and have no value, never 0, in every metric", "[metric]") {
  std::vector<Input> inputs = rich_inputs();
  for (Input& input : inputs) {
    for (Site& site : input.sites)
      for (Matrix& head : site.heads) head.back()[0] = kNaN;
    for (Matrix& state : input.streams) state[0][0] = kNaN;
    input.nll_sum = kNaN;
    for (auto& row : input.jacobian)
      for (double& x : row) x = kNaN;
  }
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    const Measurement m = measure(spec, inputs);
    CHECK_FALSE(m.value.has_value());
    CHECK(m.count == 0);
    CHECK(m.rejected > 0);
    for (const Series& s : m.series) {
      CAPTURE(s.name);
      CHECK(std::none_of(s.data.begin(), s.data.end(), [](const Number& x) { return x.has_value() && *x != 0; }));
      if (s.dims.front() == "site")
        CHECK(std::none_of(s.data.begin(), s.data.end(), [](const Number& x) { return x.has_value(); }));
    }
  }
}

TEST_CASE("one broken sequence leaves the others as they are, and is null in per_sequence", "[metric]") {
  SplitMix64 random(kSeed);
  std::vector<Input> inputs = {rich_input(8, random), rich_input(8, random)};
  std::vector<Input> broken = {inputs[0], inputs[1], inputs[1]};
  for (Site& site : broken[2].sites)
    for (Matrix& head : site.heads) head[1][0] = 5;  // a row sum far from 1
  for (Matrix& state : broken[2].streams) state[0][0] = kNaN;
  broken[2].nll_sum = kNaN;
  for (auto& row : broken[2].jacobian)
    for (double& x : row) x = kNaN;
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    const Measurement sound = measure(spec, inputs), m = measure(spec, broken);
    check_same(m.value, sound.value);
    CHECK(m.count == sound.count);
    CHECK(m.rejected > 0);
    if (!m.per_sequence.empty()) CHECK_FALSE(m.per_sequence.at(2).has_value());
  }
}

TEST_CASE("every metric documents itself completely", "[metric]") {
  std::set<std::string> names;
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    CHECK(names.insert(spec.name).second);
    for (const std::string* text :
         {&spec.unit, &spec.definition, &spec.source, &spec.range, &spec.cost, &spec.example, &spec.undefined_when})
      CHECK_FALSE(text->empty());
    CHECK(spec.definition_version >= 1);
    CHECK((spec.default_tolerance.absolute || spec.default_tolerance.relative));
    for (const Parameter& p : spec.parameters) {
      CAPTURE(p.name);
      CHECK_FALSE(p.help.empty());
      CHECK_NOTHROW(check_choices(spec.name, p, p.value));
    }
    CHECK(&find_metric(spec.name) == &spec);
  }
  CHECK(std::is_sorted(names.begin(), names.end()));
}

TEST_CASE("every metric needs something, and nothing impossible", "[metric]") {
  for (const MetricSpec& spec : all_metrics()) {
    CAPTURE(spec.name);
    const Needs needs = spec.needs(Parameters(spec.parameters));
    CHECK((needs.attention() || needs.streams() || needs.loss || needs.jacobian));
    CHECK(needs.first_keys >= 0);
    CHECK((needs.after_first_k == 0 || needs.first_keys > 0));
    CHECK(needs.tail_window >= 0);
    CHECK(needs.jacobian.has_value() == spec.only_when_named);  // what costs runs of its own is never part of a preset
    Needs merged = needs;
    merged.merge(needs);
    CHECK(merged == needs);
  }
}

TEST_CASE("default parameters survive the way through text", "[metric]") {
  const auto text = [](const ParameterValue& value) {
    return std::visit(
        [](const auto& v) -> std::string {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, std::string>)
            return v;
          else if constexpr (std::is_same_v<T, bool>)
            return v ? "true" : "false";
          else if constexpr (std::is_arithmetic_v<T>)
            return std::to_string(v);
          else {
            std::string joined;
            for (const auto& x : v) {
              if (!joined.empty()) joined += ",";
              if constexpr (std::is_same_v<T, std::vector<std::string>>)
                joined += x;
              else
                joined += std::to_string(x);
            }
            return joined;
          }
        },
        value);
  };
  for (const MetricSpec& spec : all_metrics()) {
    for (const Parameter& p : spec.parameters) {
      CAPTURE(spec.name, p.name);
      CHECK(parse_parameter(spec.name, p, text(p.value)) == p.value);
      Parameters parameters(spec.parameters);
      parameters.set(p.name, p.value);
      CHECK(parameters.at(p.name) == p.value);
    }
  }
}
