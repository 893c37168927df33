// massive_activation: the largest magnitudes of the residual streams, over all T x d elements of a sequence's state,
// and where the massive ones lie. Means over sequences come first, thresholds second (Owen et al.); Sun et al.
// threshold each tensor, which is what `locations` lists. Unit: activation; range [0, inf). Algebraic, then a maximum;
// `locations` grows with the elements listed.

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "metric/agreed_token.h"
#include "metric/metric.h"
#include "metric/norm_ratio.h"
#include "metric/sequence_cells.h"

namespace sinkscope::metrics {
namespace {

enum Column : std::size_t { kTop1, kTop2, kTop3, kMedian, kColumns };

constexpr std::size_t kLocationsPerStream = 100;

Number largest_top1(const SequenceCells::Means& means) {
  Number largest;
  for (std::size_t s = 0; s < means.rows(); ++s)
    if (const Number top = means.at(s, 0, kTop1)) largest = std::max(largest.value_or(*top), *top);
  return largest;
}

/// Where a massive element was seen, over all sequences that have it.
struct Location {
  AgreedToken token;
  Mean value;
};

class MassiveActivation final : public Metric {
 public:
  explicit MassiveActivation(const Parameters& parameters)
      : magnitude_(parameters.get<double>("magnitude")), ratio_(parameters.get<double>("ratio")) {}

  void add_stream(const StreamObservation& o) override {
    if (!o.valid || !std::isfinite(o.top1) || !std::isfinite(o.median)) {
      ++rejected_;
      return;
    }
    ++count_;
    const double columns[] = {o.top1, o.top2, o.top3, o.median};
    for (std::size_t c = 0; c < kColumns; ++c)  // top2 and top3 are NaN where there are fewer elements
      if (std::isfinite(columns[c])) extremes_.add(o.sequence->id, index(o.stream), 0, c, columns[c]);
    for (const MassiveElement& element : o.massive) {
      if (!massive(std::abs(element.value), o.median)) continue;  // another metric may have asked for lower thresholds
      Location& location = locations_[{index(o.stream), element.position, element.dimension}];
      location.token.add(o.sequence->ids, element.position);
      location.value.add(element.value);
    }
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const MassiveActivation&>(metric);
    extremes_.merge(other.extremes_);
    for (const auto& [place, location] : other.locations_) {
      locations_[place].token.merge(location.token);
      locations_[place].value.merge(location.value);
    }
    count_ += other.count_;
    rejected_ += other.rejected_;
  }

  Measurement result(const Layout& layout) const override {
    const SequenceCells::Means means = extremes_.means();
    const std::size_t streams = std::max(layout.streams.size(), means.rows());
    Measurement m;
    m.value = largest_top1(means);
    m.ci95 = extremes_.interval(largest_top1);
    m.count = count_;
    m.count_of = "sequence x stream";
    m.rejected = rejected_;
    const auto series = [&](const char* name, const char* unit, auto value) -> Series& {
      Series s{.name = name, .dims = {"stream"}, .shape = {streams}, .data = {}, .unit = unit};
      for (std::size_t i = 0; i < streams; ++i) s.data.push_back(value(i));
      return m.series.emplace_back(std::move(s));
    };
    const auto column = [&](Column c) { return [&means, c](std::size_t stream) { return means.at(stream, 0, c); }; };
    series("top1", "activation", column(kTop1));
    series("top2", "activation", column(kTop2));
    series("top3", "activation", column(kTop3));
    series("median", "activation", column(kMedian));
    series("ratio", "ratio", [&](std::size_t i) { return norm_ratio(means.at(i, 0, kTop1), means.at(i, 0, kMedian)); });
    series("is_massive", "0 or 1", [&](std::size_t i) -> Number {
      const Number top = means.at(i, 0, kTop1), median = means.at(i, 0, kMedian);
      if (!top || !median) return std::nullopt;
      return massive(*top, *median) ? 1.0 : 0.0;
    }).integer = true;
    m.records = {locations()};
    return m;
  }

 private:
  /// Multiplied, not divided: a stream that is zero but for a spike has no ratio, yet the spike is massive.
  bool massive(double top, double median) const { return top > magnitude_ && top >= ratio_ * median; }

  /// The largest mean magnitudes of every stream first.
  Records locations() const {
    std::vector<std::pair<Place, Location>> sorted(locations_.begin(), locations_.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
      if (std::get<0>(a.first) != std::get<0>(b.first)) return std::get<0>(a.first) < std::get<0>(b.first);
      return std::abs(*a.second.value.value()) > std::abs(*b.second.value.value());
    });
    Records records{"locations", {}};
    std::map<std::size_t, std::size_t> listed;
    for (const auto& [place, location] : sorted) {
      const auto& [stream, position, dimension] = place;
      if (++listed[stream] > kLocationsPerStream) continue;
      Cell token;
      if (const auto id = location.token.id()) token = *id;
      records.rows.push_back({{"stream", static_cast<std::int64_t>(stream)},
                              {"position", position},
                              {"token_id", token},
                              {"dimension", dimension},
                              {"sequences", location.value.count},
                              {"value", *location.value.value()}});
    }
    return records;
  }

  using Place = std::tuple<std::size_t, std::int64_t, std::int64_t>;  ///< stream, position, dimension
  double magnitude_, ratio_;
  SequenceCells extremes_{kColumns};
  std::map<Place, Location> locations_;
  std::int64_t count_ = 0, rejected_ = 0;
};

Needs needs(const Parameters& p) {
  const auto magnitude = p.get<double>("magnitude"), ratio = p.get<double>("ratio");
  require_parameter(magnitude >= 0, "massive_activation", "magnitude", "0 or more");
  require_parameter(ratio >= 0, "massive_activation", "ratio", "0 or more");
  return {.stream_extremes = true, .massive_magnitude = magnitude, .massive_ratio = ratio};
}

}  // namespace

MetricSpec massive_activation();
MetricSpec massive_activation() {
  return {
      .name = "massive_activation",
      .unit = "activation",
      .definition =
          "largest magnitude in any residual stream: the mean over sequences of each sequence's maximum, then the "
          "maximum over streams",
      .source = "arXiv 2402.17762; thresholds on means as in arXiv 2503.22329",
      .range = "[0, inf)",
      .cost = "one pass over the residual streams",
      .example =
          "a stream with elements 1, -2, 3, -500 has top1 500, lower median 2, ratio 250: not massive at ratio 1000",
      .undefined_when = "no stream is finite; `ratio` where the median is 0",
      .parameters = {{"magnitude", 100.0, "a massive element exceeds this; larger finds fewer"},
                     {"ratio", 1000.0, "and is at least this multiple of the median magnitude; larger finds fewer"},
                     {"median", "lower", "which median of an even number of magnitudes", {"lower"}},
                     {"order", "mean, then threshold", "how is_massive combines sequences", {"mean, then threshold"}}},
      .default_tolerance = {.absolute = {}, .relative = 0.05},
      .needs = needs,
      .make = [](const Parameters& p, const RunShape&) { return std::make_unique<MassiveActivation>(p); }};
}

}  // namespace sinkscope::metrics
