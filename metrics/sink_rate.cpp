// sink_rate: share of (sequence, site, head) that have a sink: alpha_k = C_k / (queries that causality lets see k)
// beyond epsilon. The threshold comes first, the mean second (Gu et al.). Unit fraction, range [0, 1]. Algebraic. Row 0
// is in the mean and adds up to 1/T: uniform attention itself passes epsilon = 0.3 for T <= 9.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "accumulate/mean.h"
#include "metric/head_samples.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

constexpr std::size_t kEpsilons = 9;  // by_epsilon: 0.1 .. 0.9

double epsilon_at(std::size_t i) { return static_cast<double>(i + 1) / 10.0; }

/// One point for each entry of `tables`, its headline over the same sites as `value`.
Series curve(const std::string& name, const std::string& dim, const std::vector<HeadTable>& tables) {
  Series series{.name = name, .dims = {dim}, .shape = {tables.size()}, .data = {}, .unit = "fraction"};
  for (const HeadTable& table : tables) {
    series.data.push_back(table.headline().value);
    series.uniform.push_back(table.headline().uniform);
  }
  return series;
}

constexpr std::int64_t kMostKeys = 65536;  // a table of heads is kept for each

class SinkRate final : public Metric {
 public:
  explicit SinkRate(const Parameters& parameters)
      : epsilon_(parameters.get<double>("epsilon")),
        key_(parameters.get<std::int64_t>("key")),
        or_equal_(parameters.get<std::string>("comparator") == ">="),
        by_key_(static_cast<std::size_t>(parameters.get<std::int64_t>("keys"))) {}

  void add_site(const SiteObservation& o) override {
    add_key(o, key_, [&](std::size_t h, Number alpha, double uniform) {
      rate_.add(o, h, passes(alpha, epsilon_), indicator(uniform, epsilon_));
      for (std::size_t i = 0; i < kEpsilons; ++i)
        by_epsilon_[i].add(o, h, passes(alpha, epsilon_at(i)), indicator(uniform, epsilon_at(i)));
    });
    for (std::size_t k = 0; k < by_key_.size(); ++k)
      add_key(o, static_cast<std::int64_t>(k), [&](std::size_t h, Number alpha, double uniform) {
        by_key_[k].add(o, h, passes(alpha, epsilon_), indicator(uniform, epsilon_));
      });
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const SinkRate&>(metric);
    rate_.merge(other.rate_);
    for (std::size_t i = 0; i < by_key_.size(); ++i) by_key_[i].merge(other.by_key_[i]);
    for (std::size_t i = 0; i < kEpsilons; ++i) by_epsilon_[i].merge(other.by_epsilon_[i]);
  }

  Measurement result(const Layout& layout) const override {
    Measurement m = rate_.measurement(layout);
    m.series = {curve("by_key", "key", by_key_), curve("by_epsilon", "epsilon", by_epsilon_)};
    Coordinate epsilon{"epsilon", {}};
    for (std::size_t i = 0; i < kEpsilons; ++i) epsilon.values.push_back(epsilon_at(i));
    m.series.back().coords = {epsilon};
    return m;
  }

 private:
  bool beyond(double alpha, double epsilon) const { return or_equal_ ? alpha >= epsilon : alpha > epsilon; }
  Number passes(Number alpha, double epsilon) const {
    if (!alpha || !finite(*alpha))
      return alpha;  // NaN goes on, so that it is counted as rejected instead of as "no sink"
    return beyond(*alpha, epsilon) ? 1.0 : 0.0;
  }
  double indicator(double uniform, double epsilon) const {
    return passes(finite(uniform), epsilon).value_or(kNoUniform);
  }

  /// add(head, alpha_k, alpha_k of uniform attention); empty where no query can see the key.
  template <class Add>
  static void add_key(const SiteObservation& o, std::int64_t k, Add add) {
    const auto uniform_of_heads = o.of_masks([&](const Visibility& mask) {
      return Mean{mask.uniform_column(k, 0, mask.rows()), k < mask.keys() ? mask.alpha_rows(k) : 0};
    });
    for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) {
      const Mean& uniform = uniform_of_heads.at(h);
      const double sum =
          o.importance_sum().at(h * static_cast<std::size_t>(o.first_keys) + static_cast<std::size_t>(k));
      add(h, quotient(sum, uniform.count), uniform.value().value_or(kNoUniform));
    }
  }

  double epsilon_;
  std::int64_t key_;
  bool or_equal_;
  HeadSamples rate_;
  std::vector<HeadTable> by_key_, by_epsilon_{kEpsilons};
};

Needs needs(const Parameters& p) {
  const auto key = p.get<std::int64_t>("key"), keys = p.get<std::int64_t>("keys");
  const auto epsilon = p.get<double>("epsilon");
  require_parameter(epsilon >= 0 && epsilon <= 1, "sink_rate", "epsilon", "between 0 and 1");
  require_parameter(key >= 0 && key < kMostKeys, "sink_rate", "key", "between 0 and 65535");
  require_parameter(keys >= 1 && keys <= kMostKeys, "sink_rate", "keys", "between 1 and 65536");
  return {.first_keys = std::max(key + 1, keys)};
}

}  // namespace

MetricSpec sink_rate();
MetricSpec sink_rate() {
  return {
      .name = "sink_rate",
      .unit = "fraction",
      .definition = "share of (sequence, site, head) whose mean attention to key `key` exceeds epsilon",
      .source = "arXiv 2410.10781 section 3.2",
      .range = "[0, 1]",
      .cost = "O(T K d) a head for K = max(keys, key + 1) first keys, given the log-sum-exp",
      .example = "A = [[1,0,0],[.6,.4,0],[.5,.3,.2]] has alpha = (.7, .35, .2): a sink at keys 0 and 1 for epsilon 0.3",
      .undefined_when = "no sequence is longer than the key",
      .parameters = {{"epsilon", 0.3, "threshold of a sink; larger finds fewer, stronger ones"},
                     {"key", 0, "position of the key looked at"},
                     {"comparator", ">", "how the mean attention is compared with epsilon", {">", ">="}},
                     {"keys", 10, "series by_key covers keys [0, keys); larger costs more"},
                     {"row_0", "included", "query 0, which sees only itself, counts in the mean", {"included"}},
                     {"denominator",
                      "queries from the key on",
                      "what the attention to a key is divided by; all queries where attention is not causal",
                      {"queries from the key on"}},
                     {"unnormalised",
                      "proxy",
                      "attention whose rows have any sum: |w_ij| / (sum_j |w_ij| + 1e-8) is looked at",
                      {"proxy"}}},
      .default_tolerance = {.absolute = 0.02, .relative = 0.05},
      .needs = needs,
      .make = [](const Parameters& p, const RunShape&) { return std::make_unique<SinkRate>(p); }};
}

}  // namespace sinkscope::metrics
