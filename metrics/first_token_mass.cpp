// first_token_mass: mean attention to key 0, FT_all = mean over queries i of A[i, 0]. Unit probability; range [1/T, 1]
// where rows sum to one and are causal: query 0 sees only itself and adds 1/T. The series are the other five published
// forms, which are NOT equivalent (docs/metrics.md). Algebraic.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "accumulate/mean.h"
#include "metric/head_samples.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

class FirstTokenMass final : public Metric {
 public:
  explicit FirstTokenMass(const Parameters& parameters)
      : k_(parameters.get<std::int64_t>("k")),
        window_(parameters.get<std::int64_t>("window")),
        triggers_(parameters.get<std::vector<std::int64_t>>("trigger")) {}

  void add_site(const SiteObservation& o) override {
    const auto rows_of_heads = o.of_masks([&](const Visibility& mask) { return rows_of(mask, *o.sequence); });
    for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) {
      const Rows& rows = rows_of_heads.at(h);
      const auto add = [&](auto& table, double sum, const Mean& uniform) {
        table.add(o, h, quotient(sum, uniform.count), uniform.value().value_or(kNoUniform));
      };
      const double sum = o.first_key_sum.at(h * static_cast<std::size_t>(o.first_keys));
      const double first = rows.all.count > rows.excluding_first.count ? o.first_query.at(h) : 0;
      add(all_, sum, rows.all);
      add(excluding_first_query_, sum - first, rows.excluding_first);
      add(after_first_k_, o.after_first_k_sum.at(h), rows.after_first_k);
      add(tail_, o.tail_sum.at(h), rows.tail);
      add(last_query_, o.last_query.at(h), rows.last);
      if (!o.non_trigger_sum.empty()) add(non_trigger_, o.non_trigger_sum.at(h), rows.non_trigger);
      if (!o.renormalised_sum.empty()) add(renormalised_, o.renormalised_sum.at(h), rows.all);
    }
    any_renormalised_ |= !o.renormalised_sum.empty();
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const FirstTokenMass&>(metric);
    all_.merge(other.all_);
    excluding_first_query_.merge(other.excluding_first_query_);
    after_first_k_.merge(other.after_first_k_);
    tail_.merge(other.tail_);
    last_query_.merge(other.last_query_);
    non_trigger_.merge(other.non_trigger_);
    renormalised_.merge(other.renormalised_);
    any_renormalised_ |= other.any_renormalised_;
  }

  Measurement result(const Layout& layout) const override {
    Measurement m = all_.measurement(layout);
    const auto add = [&](const HeadTable& table, const char* name) {
      m.series.push_back(table.series(name, "probability", layout));
    };
    add(excluding_first_query_, "excluding_first_query");
    add(after_first_k_, "after_first_k");
    add(tail_, "tail");
    add(last_query_, "last_query");
    if (!triggers_.empty()) add(non_trigger_, "non_trigger");
    if (any_renormalised_) add(renormalised_, "renormalised");
    return m;
  }

 private:
  /// Uniform attention summed over the queries of each series, and how many they are: what a mask alone decides. A row
  /// that is masked out is no query.
  struct Rows {
    Mean all, excluding_first, after_first_k, tail, last, non_trigger;
  };

  Rows rows_of(const Visibility& mask, const Sequence& sequence) const {
    const std::int64_t rows = mask.rows();
    const auto range = [&](std::int64_t begin, std::int64_t keys) {
      begin = std::clamp<std::int64_t>(begin, 0, rows);
      Mean mean{0, mask.queries_in(begin, rows)};
      for (std::int64_t key = 0; key < std::min(keys, mask.keys()); ++key)
        mean.sum += mask.uniform_column(key, begin, rows);
      return mean;
    };
    Rows result{range(0, 1), range(1, 1), range(k_, k_), range(rows - window_, 1), range(rows - 1, 1), {}};
    if (triggers_.empty() || static_cast<std::int64_t>(sequence.ids.size()) != rows) return result;
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t id = sequence.ids[static_cast<std::size_t>(i)];
      if (std::find(triggers_.begin(), triggers_.end(), id) != triggers_.end()) continue;
      result.non_trigger.merge({mask.uniform_column(0, i, i + 1), mask.queries_in(i, i + 1)});
    }
    return result;
  }

  std::int64_t k_, window_;
  std::vector<std::int64_t> triggers_;
  HeadSamples all_;
  HeadTable excluding_first_query_, after_first_k_, tail_, last_query_, non_trigger_, renormalised_;
  bool any_renormalised_ = false;
};

Needs needs(const Parameters& p) {
  const auto k = p.get<std::int64_t>("k"), window = p.get<std::int64_t>("window");
  require_parameter(k >= 1 && k <= 65536, "first_token_mass", "k", "between 1 and 65536");
  require_parameter(window >= 1, "first_token_mass", "window", "1 or more");
  return {.first_keys = 1,
          .after_first_k = k,
          .tail_window = window,
          .triggers = p.get<std::vector<std::int64_t>>("trigger")};
}

}  // namespace

MetricSpec first_token_mass();
MetricSpec first_token_mass() {
  return {
      .name = "first_token_mass",
      .unit = "probability",
      .definition = "mean over all queries, the first included, of the attention to key 0",
      .source = "arXiv 2410.10781 section 3.2 (alpha_1)",
      .range = "[0, 1]; at least 1/T where attention is causal and rows sum to one",
      .cost = "O(T d) a head: attention to the first key, given the log-sum-exp",
      .example = "A = [[1,0,0],[.6,.4,0],[.5,.3,.2]] gives (1 + .6 + .5) / 3 = 0.7",
      .undefined_when = "no head has a valid row",
      .parameters = {{"k", 4,
                      "series after_first_k: keys [0, k) seen by queries from k on; larger counts more keys as first"},
                     {"window", 64, "series tail: number of last queries averaged; larger reaches further back"},
                     {"trigger", std::vector<std::int64_t>{},
                      "series non_trigger: token ids whose queries are left out"},
                     {"row_0", "included", "query 0, which sees only itself, counts in the mean", {"included"}}},
      .default_tolerance = {.absolute = 0.02, .relative = 0.05},
      .needs = needs,
      .make = [](const Parameters& p, const RunShape&) { return std::make_unique<FirstTokenMass>(p); }};
}

}  // namespace sinkscope::metrics
