// hidden_norm: L2 norm of the residual stream at position 0 against the mean of the other positions, per stream. Unit
// of the series `first` and `others`: activation; the headline is the largest ratio. Streams are before the final norm:
// after it the picture is another one (GPT-2: 3111.7 before, 79.0 after). Algebraic, then a maximum.

#include <algorithm>
#include <cmath>
#include <memory>

#include "metric/metric.h"
#include "metric/norm_ratio.h"
#include "metric/sequence_cells.h"

namespace sinkscope::metrics {
namespace {

enum Column : std::size_t { kFirst, kOthers, kColumns };

Number ratio_of(const SequenceCells::Means& means, std::size_t stream) {
  return norm_ratio(means.at(stream, 0, kFirst), means.at(stream, 0, kOthers));
}

Number largest_ratio(const SequenceCells::Means& means) {
  Number largest;
  for (std::size_t s = 0; s < means.rows(); ++s)
    if (const Number ratio = ratio_of(means, s)) largest = std::max(largest.value_or(*ratio), *ratio);
  return largest;
}

class HiddenNorm final : public Metric {
 public:
  void add_stream(const StreamObservation& o) override {
    const bool has_others = o.sequence->length > 1 || o.position_norm.size() > 1;  // rows of numbers have no length
    if (!o.valid || !std::isfinite(o.norm_first) || (has_others && !std::isfinite(o.norm_others))) {
      ++rejected_;
      return;
    }
    ++count_;
    norms_.add(o.sequence->id, index(o.stream), 0, kFirst, o.norm_first);
    if (has_others) norms_.add(o.sequence->id, index(o.stream), 0, kOthers, o.norm_others);
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const HiddenNorm&>(metric);
    norms_.merge(other.norms_);
    count_ += other.count_;
    rejected_ += other.rejected_;
  }

  Measurement result(const Layout& layout) const override {
    const SequenceCells::Means means = norms_.means();
    const std::size_t streams = std::max(layout.streams.size(), means.rows());
    Series first{.name = "first", .dims = {"stream"}, .shape = {streams}, .data = {}, .unit = "activation"};
    Series others = first, ratio = first;
    others.name = "others";
    ratio.name = "ratio";
    ratio.unit = "ratio";
    for (std::size_t s = 0; s < streams; ++s) {
      first.data.push_back(means.at(s, 0, kFirst));
      others.data.push_back(means.at(s, 0, kOthers));
      ratio.data.push_back(ratio_of(means, s));
    }
    Measurement m;
    m.value = largest_ratio(means);
    m.ci95 = norms_.interval(largest_ratio);
    m.count = count_;
    m.count_of = "sequence x stream";
    m.rejected = rejected_;
    m.series = {first, others, ratio};
    return m;
  }

 private:
  SequenceCells norms_{kColumns};
  std::int64_t count_ = 0, rejected_ = 0;
};

}  // namespace

MetricSpec hidden_norm();
MetricSpec hidden_norm() {
  return {.name = "hidden_norm",
          .unit = "ratio",
          .definition =
              "largest ratio over residual streams of the norm at position 0 to the mean norm at the other positions, "
              "both averaged over sequences",
          .source = "arXiv 2410.10781 (l2-norm ratio)",
          .range = "[0, inf)",
          .cost = "one pass over the residual streams",
          .example = "norms 30, 2, 4 at the three positions of a stream give first = 30, others = 3, ratio = 10",
          .undefined_when = "every sequence has one token, or the other positions are all zero",
          .parameters = {{"at", "before final norm", "where the last stream is read", {"before final norm"}}},
          .default_tolerance = {.absolute = {}, .relative = 0.05},
          .needs = [](const Parameters&) { return Needs{.stream_norms = true}; },
          .make = [](const Parameters&, const RunShape&) { return std::make_unique<HiddenNorm>(); }};
}

}  // namespace sinkscope::metrics
