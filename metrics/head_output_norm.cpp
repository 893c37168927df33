// head_output_norm: L2 norm of a head's output (A V)_i before the output projection. Unit: activation; range [0, inf).
// A head that parks its attention on a sink with a small value has a small output. Algebraic.

#include <cstddef>
#include <memory>

#include "metric/head_samples.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

class HeadOutputNorm final : public Metric {
 public:
  void add_site(const SiteObservation& o) override {
    const bool known = o.kv_heads > 0;  // outputs are unknown without KV heads
    for (std::size_t h = 0; h < static_cast<std::size_t>(o.query_heads); ++h) {
      const Visibility& mask = o.mask(h);
      mean_.add(o, h, known && mask.queries() > 0 ? Number(o.head_output_norm_mean.at(h)) : Number());
      last_.add(o, h, known && mask.last_is_query() ? Number(o.head_output_norm_last.at(h)) : Number());
    }
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const HeadOutputNorm&>(metric);
    mean_.merge(other.mean_);
    last_.merge(other.last_);
  }

  Measurement result(const Layout& layout) const override {
    Measurement m = mean_.measurement(layout);
    m.series = {last_.series("last_token", "activation", layout)};
    return m;
  }

 private:
  HeadSamples mean_;
  HeadTable last_;
};

}  // namespace

MetricSpec head_output_norm();
MetricSpec head_output_norm() {
  return {.name = "head_output_norm",
          .unit = "activation",
          .definition =
              "mean over heads of the mean over tokens of the L2 norm of a head's output, before the output projection",
          .source = "arXiv 2504.03889 (AHON; the series last_token is LTHON)",
          .range = "[0, inf); at most the largest value norm",
          .cost = "one pass over the head outputs",
          .example = "a head whose outputs at two tokens are (3, 4) and (0, 1) has (5 + 1) / 2 = 3 and last_token 1",
          .undefined_when = "no head has a valid row",
          .parameters =
              {{"at", "before output projection", "where the head's output is read", {"before output projection"}}},
          .default_tolerance = {.absolute = {}, .relative = 0.05},
          .needs = [](const Parameters&) { return Needs{.head_output_norms = true}; },
          .make = [](const Parameters&, const RunShape&) { return std::make_unique<HeadOutputNorm>(); }};
}

}  // namespace sinkscope::metrics
