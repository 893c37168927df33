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
    const Visibility& mask = *o.visibility;
    const std::int64_t rows = mask.rows(), queries = mask.queries();
    const std::int64_t first = rows > 0 && mask.visible(0) > 0 ? 1 : 0;  // row 0 is no query where it is masked out
    const std::int64_t tail_begin = std::max<std::int64_t>(0, rows - window_);
    const auto uniform = [&](std::int64_t begin, std::int64_t end, std::int64_t count) {
      return quotient(mask.uniform_column(0, begin, end), count).value_or(kNoUniform);
    };
    const double uniform_all = uniform(0, rows, queries);
    const double uniform_excluding = uniform(1, rows, queries - first);
    const double uniform_tail = uniform(tail_begin, rows, o.tail_rows);
    const double uniform_last = uniform(rows - 1, rows, 1);
    const double uniform_after = uniform_after_first_k(o);
    const double uniform_non_trigger = triggers_.empty() ? kNoUniform : uniform_over_non_triggers(o);

    for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) {
      const double sum = o.first_key_sum.at(h * static_cast<std::size_t>(o.first_keys));
      all_.add(o, h, quotient(sum, queries), uniform_all);
      excluding_first_query_.add(o, h, quotient(sum - first_query(o, h, first), queries - first), uniform_excluding);
      after_first_k_.add(o, h, quotient(o.after_first_k_sum.at(h), o.after_first_k_rows), uniform_after);
      tail_.add(o, h, quotient(o.tail_sum.at(h), o.tail_rows), uniform_tail);
      last_query_.add(o, h, rows > 0 && mask.visible(rows - 1) > 0 ? Number(o.last_query.at(h)) : Number(),
                      uniform_last);
      if (!triggers_.empty())
        non_trigger_.add(o, h, quotient(o.non_trigger_sum.at(h), o.non_trigger_rows), uniform_non_trigger);
      if (!o.renormalised_sum.empty())
        renormalised_.add(o, h, quotient(o.renormalised_sum.at(h), queries), uniform_all);
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
  static double first_query(const SiteObservation& o, std::size_t h, std::int64_t first) {
    return first > 0 ? o.first_query.at(h) : 0;
  }

  double uniform_after_first_k(const SiteObservation& o) const {
    double sum = 0;
    for (std::int64_t key = 0; key < std::min(k_, o.visibility->keys()); ++key)
      sum += o.visibility->uniform_column(key, k_, o.visibility->rows());
    return quotient(sum, o.after_first_k_rows).value_or(kNoUniform);
  }

  double uniform_over_non_triggers(const SiteObservation& o) const {
    const std::vector<std::int64_t>& ids = o.sequence->ids;
    if (static_cast<std::int64_t>(ids.size()) != o.visibility->rows()) return kNoUniform;
    double sum = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      if (std::find(triggers_.begin(), triggers_.end(), ids[i]) == triggers_.end())
        sum += o.visibility->uniform_column(0, row, row + 1);
    }
    return quotient(sum, o.non_trigger_rows).value_or(kNoUniform);
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
