// value_norm: L2 norm of value 0 against the mean of the others, per KV head. Unit of the series `first` and `others`:
// activation; the headline is their ratio. Values are before the output projection, one for each KV head (not
// repeated). Algebraic; the interval keeps sequences x KV heads values.

#include <memory>

#include "metric/metric.h"
#include "metric/norm_ratio.h"

namespace sinkscope::metrics {
namespace {

class ValueNorm final : public Metric {
 public:
  void add_site(const SiteObservation& o) override { norms_.add(o, o.value_norm_first, o.value_norm_others); }
  void merge(const Metric& metric) override { norms_.merge(dynamic_cast<const ValueNorm&>(metric).norms_); }
  Measurement result(const Layout& layout) const override { return norms_.measurement(layout); }

 private:
  NormRatios norms_;
};

}  // namespace

MetricSpec value_norm();
MetricSpec value_norm() {
  return {.name = "value_norm",
          .unit = "ratio",
          .definition =
              "mean over (site, KV head) of the norm of value 0 divided by the mean norm of the other values, both "
              "averaged over sequences",
          .source = "arXiv 2410.10781 (l2-norm ratio)",
          .range = "[0, inf)",
          .cost = "one pass over the values",
          .example = "norms 1, 4, 6 give first = 1, others = 5, ratio = 0.2",
          .undefined_when = "every sequence has one token, or the other values are all zero",
          .parameters = {{"at",
                          "before output projection",
                          "values as attention averages them, per KV head",
                          {"before output projection"}}},
          .default_tolerance = {.absolute = {}, .relative = 0.05},
          .needs = [](const Parameters&) { return Needs{.value_norms = true}; },
          .make = [](const Parameters&, const RunShape&) { return std::make_unique<ValueNorm>(); }};
}

}  // namespace sinkscope::metrics
