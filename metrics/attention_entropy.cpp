// attention_entropy: AEQD, the mean over queries of the entropy of the query's attention, in nats, over the real keys:
// the probability of a learned sink is not renormalised away. Range [0, ln T]. Query 0 sees one key and adds 0.
// Algebraic.

#include <cstddef>
#include <memory>

#include "accumulate/mean.h"
#include "metric/head_samples.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

class AttentionEntropy final : public Metric {
 public:
  void add_site(const SiteObservation& o) override {
    if (o.entropy_sum.empty()) return;  // weights below 0 have none
    struct Uniform {
      std::int64_t queries;
      double entropy, normalised;
    };
    const auto uniform_of_heads = o.of_masks([](const Visibility& mask) {
      // A row with one visible key has normalised entropy 0 by convention (0/0), also under uniform attention.
      std::int64_t rows_with_choice = 0;
      for (std::int64_t i = 0; i < mask.rows(); ++i) rows_with_choice += mask.visible(i) > 1 ? 1 : 0;
      const std::int64_t queries = mask.queries();
      return Uniform{queries, mask.uniform_entropy(),
                     quotient(static_cast<double>(rows_with_choice), queries).value_or(kNoUniform)};
    });
    for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) {
      const Uniform& uniform = uniform_of_heads.at(h);
      entropy_.add(o, h, quotient(o.entropy_sum.at(h), uniform.queries), uniform.entropy);
      normalised_.add(o, h, quotient(o.normalised_entropy_sum.at(h), uniform.queries), uniform.normalised);
    }
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const AttentionEntropy&>(metric);
    entropy_.merge(other.entropy_);
    normalised_.merge(other.normalised_);
  }

  Measurement result(const Layout& layout) const override {
    Measurement m = entropy_.measurement(layout);
    m.series = {normalised_.series("normalised", "fraction", layout)};
    return m;
  }

 private:
  HeadSamples entropy_;
  HeadTable normalised_;
};

}  // namespace

MetricSpec attention_entropy();
MetricSpec attention_entropy() {
  return {
      .name = "attention_entropy",
      .unit = "nats",
      .definition = "mean over all queries, the first included, of the entropy of their attention over the real keys",
      .source = "arXiv 2504.03889 (AEQD); the series follows arXiv 2410.13835",
      .range = "[0, ln T]",
      .cost = "one more Q K^T pass",
      .example = "A = [[1,0,0],[.6,.4,0],[.5,.3,.2]] gives (0 + 0.6730 + 1.0297) / 3 = 0.5676",
      .undefined_when = "no head has a valid row",
      .parameters = {{"log_base", "e", "base of the logarithm", {"e"}},
                     {"normaliser", "none", "the series `normalised` divides each row by ln(visible keys)", {"none"}},
                     {"row_0", "included", "query 0, whose entropy is 0, counts in the mean", {"included"}}},
      .default_tolerance = {.absolute = {}, .relative = 0.05},
      .needs = [](const Parameters&) { return Needs{.entropy = true}; },
      .make = [](const Parameters&, const RunShape&) { return std::make_unique<AttentionEntropy>(); }};
}

}  // namespace sinkscope::metrics
