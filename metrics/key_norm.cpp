// key_norm: L2 norm of key 0 against the mean of the others, per KV head. Unit of the series `first` and `others`:
// activation; the headline is their ratio. Keys are the tensor that enters Q K^T, after RoPE and QK-norm. Algebraic;
// the interval keeps sequences x KV heads values.

#include <memory>

#include "metric/metric.h"
#include "metric/norm_ratio.h"

namespace sinkscope::metrics {
namespace {

class KeyNorm final : public Metric {
 public:
  void add_site(const SiteObservation& o) override { norms_.add(o, o.key_norm_first, o.key_norm_others); }
  void merge(const Metric& metric) override { norms_.merge(dynamic_cast<const KeyNorm&>(metric).norms_); }
  Measurement result(const Layout& layout) const override { return norms_.measurement(layout); }

 private:
  NormRatios norms_;
};

}  // namespace

MetricSpec key_norm();
MetricSpec key_norm() {
  return {.name = "key_norm",
          .unit = "ratio",
          .definition =
              "mean over (site, KV head) of the norm of key 0 divided by the mean norm of the other keys, both "
              "averaged over sequences",
          .source = "arXiv 2410.10781 (l2-norm ratio)",
          .range = "[0, inf)",
          .cost = "one pass over the keys",
          .example = "norms 1, 4, 6 give first = 1, others = 5, ratio = 0.2",
          .undefined_when = "every sequence has one token, or the other keys are all zero",
          .parameters = {{"at", "as used in Q K^T", "keys after RoPE and QK-norm", {"as used in Q K^T"}}},
          .default_tolerance = {.absolute = {}, .relative = 0.05},
          .needs = [](const Parameters&) { return Needs{.key_norms = true}; },
          .make = [](const Parameters&, const RunShape&) { return std::make_unique<KeyNorm>(); }};
}

}  // namespace sinkscope::metrics
