// mixing_jacobian: how far the final state of a target token moves with the embedding of a source token: the Frobenius
// norm of the d x d block J[j, i] = d h_j^L / d h_i^0, h^L before the final norm. Unit: output activation per input
// activation; range [0, inf). Norms are roots of the mean of squares over probes (a mean of roots would be biased low).
// Defined here: no published formula is known. Algebraic.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <vector>

#include "accumulate/bootstrap.h"
#include "accumulate/mean.h"
#include "metric/metric.h"

namespace sinkscope::metrics {
namespace {

class MixingJacobian final : public Metric {
 public:
  explicit MixingJacobian(const Parameters& parameters)
      : targets_(parameters.get<std::vector<std::int64_t>>("targets")) {}

  void add_jacobian(const JacobianObservation& o) override {
    if (o.targets.empty()) return;
    const std::size_t length = o.squared_norm.size() / o.targets.size();
    const std::size_t sequence = index(o.sequence->id);
    if (sequences_.size() <= sequence) sequences_.resize(sequence + 1);
    Shape shape{static_cast<std::int64_t>(length), o.targets};
    join(shape);
    grow(o.targets.size(), length);
    for (std::size_t t = 0; t < o.targets.size(); ++t) {
      double total = 0;
      for (std::size_t i = 0; i < length; ++i) total += std::sqrt(o.squared_norm.at(t * length + i));
      for (std::size_t i = 0; i < length; ++i) {
        const std::int64_t distance = o.targets[t] - static_cast<std::int64_t>(i);
        if (o.causal && distance < 0) {  // exactly 0: not evidence, but the arrays show it
          norm_[t * columns_ + i].add(0);
          if (std::isfinite(total) && total > 0) share_[t * columns_ + i].add(0);
          continue;
        }
        const double norm = std::sqrt(o.squared_norm[t * length + i]);
        if (!std::isfinite(norm)) {
          ++rejected_;
          continue;
        }
        norm_[t * columns_ + i].add(norm);
        if (std::isfinite(total) && total > 0) share_[t * columns_ + i].add(norm / total);
        by_distance_[distance].add(norm);
        if (distance != 0) sequences_[sequence].add(norm);
      }
    }
  }

  void merge(const Metric& metric) override {
    const auto& other = dynamic_cast<const MixingJacobian&>(metric);
    if (other.seen_) join(other.shape_);
    mixed_ |= other.mixed_;
    grow(other.rows_, other.columns_);
    for (std::size_t t = 0; t < other.rows_; ++t) {
      for (std::size_t i = 0; i < other.columns_; ++i) {
        norm_[t * columns_ + i].merge(other.norm_[t * other.columns_ + i]);
        share_[t * columns_ + i].merge(other.share_[t * other.columns_ + i]);
      }
    }
    for (const auto& [distance, mean] : other.by_distance_) by_distance_[distance].merge(mean);
    if (sequences_.size() < other.sequences_.size()) sequences_.resize(other.sequences_.size());
    for (std::size_t i = 0; i < other.sequences_.size(); ++i) sequences_[i].merge(other.sequences_[i]);
    rejected_ += other.rejected_;
  }

  Measurement result(const Layout&) const override {
    Measurement m;
    std::vector<Mean> samples;
    Mean all;
    for (const Mean& sequence : sequences_) {
      m.per_sequence.push_back(sequence.value());
      samples.push_back(sequence.count > 0 ? Mean{*sequence.value(), 1} : Mean{});
      all.merge(samples.back());
      m.count += sequence.count;
    }
    m.value = all.value();
    m.ci95 = bootstrap_mean(samples);
    m.count_of = "sequence x target x source";
    m.rejected = rejected_;
    m.series = {array("norm", "output activation per input activation", norm_), array("share", "fraction", share_),
                by_distance()};
    return m;
  }

 private:
  struct Shape {
    std::int64_t length = 0;
    std::vector<std::int64_t> targets;  ///< resolved
    bool operator==(const Shape&) const = default;
  };

  /// Arrays over positions exist only while all sequences have one length: position 5 of 8 is not position 5 of 500.
  void join(const Shape& shape) {
    mixed_ |= seen_ && shape != shape_;
    if (!seen_) shape_ = shape;
    seen_ = true;
  }

  void grow(std::size_t rows, std::size_t columns) {
    if (rows <= rows_ && columns <= columns_) return;
    const std::size_t new_rows = std::max(rows, rows_), new_columns = std::max(columns, columns_);
    for (std::vector<Mean>* array : {&norm_, &share_}) {
      std::vector<Mean> larger(new_rows * new_columns);
      for (std::size_t t = 0; t < rows_; ++t)
        std::copy_n(array->begin() + static_cast<std::ptrdiff_t>(t * columns_), columns_,
                    larger.begin() + static_cast<std::ptrdiff_t>(t * new_columns));
      *array = std::move(larger);
    }
    rows_ = new_rows;
    columns_ = new_columns;
  }

  Series array(const char* name, const char* unit, const std::vector<Mean>& means) const {
    Series series{.name = name, .dims = {"target", "source"}, .shape = {rows_, columns_}, .data = {}, .unit = unit};
    for (const Mean& mean : means) series.data.push_back(mixed_ ? Number() : mean.value());
    Coordinate targets{"target", {}};
    for (const std::int64_t target : mixed_ || !seen_ ? targets_ : shape_.targets)
      targets.values.push_back(static_cast<double>(target));
    if (targets.values.size() == rows_) series.coords = {targets};
    return series;
  }

  Series by_distance() const {
    Series series{.name = "by_distance",
                  .dims = {"distance"},
                  .shape = {by_distance_.size()},
                  .data = {},
                  .unit = "output activation per input activation"};
    Coordinate distances{"distance", {}};
    for (const auto& [distance, mean] : by_distance_) {
      distances.values.push_back(static_cast<double>(distance));
      series.data.push_back(mean.value());
    }
    series.coords = {distances};
    return series;
  }

  std::vector<std::int64_t> targets_;  ///< as given: negative counts from the end
  Shape shape_;
  bool seen_ = false, mixed_ = false;
  std::size_t rows_ = 0, columns_ = 0;
  std::vector<Mean> norm_, share_;            ///< [rows, columns] = [target, source]
  std::map<std::int64_t, Mean> by_distance_;  ///< target - source
  std::vector<Mean> sequences_;  ///< [sequence] over its (target, source) pairs, the target itself left out
  std::int64_t rejected_ = 0;
};

Needs needs(const Parameters& p) {
  const auto& targets = p.get<std::vector<std::int64_t>>("targets");
  const auto probes = p.get<std::int64_t>("probes");
  require_parameter(!targets.empty(), "mixing_jacobian", "targets", "one position or more");
  require_parameter(probes >= 0, "mixing_jacobian", "probes", "0 (exact) or more");
  return {.jacobian = JacobianNeeds{.targets = targets, .probes = probes, .seed = p.get<std::int64_t>("seed")}};
}

}  // namespace

MetricSpec mixing_jacobian();
MetricSpec mixing_jacobian() {
  return {
      .name = "mixing_jacobian",
      .unit = "output activation per input activation",
      .definition =
          "mean over sequences, targets and the sources before the target (bidirectional models: all other sources) of "
          "the Frobenius norm of d h_target^L / d h_source^0",
      .source = "defined here",
      .range = "[0, inf)",
      .cost = "one separate run a sequence, and probes backward passes a target (d where exact)",
      .example =
          "one block h_j + sum_i A[j,i] h_i with A[2] = (.5, .3, .2) and d = 4: norms (1, 0.6, 2.4) at target 2, value "
          "0.8",
      .undefined_when =
          "no sequence has a source before its target; share where all norms are 0; norm and share where lengths "
          "differ",
      .parameters = {{"targets", std::vector<std::int64_t>{-1},
                      "target positions, negative from the end; each one costs a set of passes"},
                     {"probes", 16, "random probes a target; larger is more exact and slower, 0 is exact"},
                     {"seed", 0, "seed of the probes"},
                     {"normaliser", "sum over sources", "what the series `share` divides by", {"sum over sources"}}},
      .default_tolerance = {.absolute = {}, .relative = 0.05},
      .only_when_named = true,
      .needs = needs,
      .make = [](const Parameters& p, const RunShape&) { return std::make_unique<MixingJacobian>(p); }};
}

}  // namespace sinkscope::metrics
