// learned_sink_mass: mean over queries of the probability that goes to a learned sink, a logit s of the head that takes
// part in the denominator of the softmax and has no value: sigmoid(s - lse_i) with lse_i over the real keys, or
// 1 - sum_j A[i, j]. Range [0, 1]. Sites without one leave no trace: not applicable, not 0. Algebraic.

#include <cstddef>
#include <memory>

#include "accumulate/mean.h"
#include "metric/head_samples.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

class LearnedSinkMass final : public Metric {
 public:
  void add_site(const SiteObservation& o) override {
    if (o.learned_sink_sum.empty()) return;
    for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h)
      mass_.add(o, h, quotient(o.learned_sink_sum.at(h), o.mask(h).queries()));
  }

  void merge(const Metric& metric) override { mass_.merge(dynamic_cast<const LearnedSinkMass&>(metric).mass_); }
  Measurement result(const Layout& layout) const override { return mass_.measurement(layout); }

 private:
  HeadSamples mass_;
};

}  // namespace

MetricSpec learned_sink_mass();
MetricSpec learned_sink_mass() {
  return {.name = "learned_sink_mass",
          .unit = "probability",
          .definition =
              "mean over all queries, the first included, of the probability that goes to the head's learned sink",
          .source = "gpt-oss; arXiv 2309.17453 (softmax off by one); the same mean as first_token_mass",
          .range = "[0, 1]",
          .cost = "one exponential a row, given the log-sum-exp",
          .example = "one visible key with logit 0 and a sink with logit 0 share a row: 0.5; sink logit ln 3: 0.75",
          .undefined_when = "no site has a learned sink",
          .parameters = {{"row_0", "included", "query 0, which sees itself and the sink, counts", {"included"}}},
          .default_tolerance = {.absolute = 0.02, .relative = 0.05},
          .needs = [](const Parameters&) { return Needs{.learned_sink = true}; },
          .make = [](const Parameters&, const RunShape&) { return std::make_unique<LearnedSinkMass>(); }};
}

}  // namespace sinkscope::metrics
