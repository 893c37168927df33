#pragma once
// A metric: what it needs, how it adds and merges observations, what it reports, and its documentation as data.
// One file each in metrics/, with its test in tests/metrics/; the table is generated from the file names.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/needs.h"
#include "metric/layout.h"
#include "metric/measurement.h"
#include "metric/observation.h"
#include "metric/parameters.h"

namespace sinkscope {

/// Facts of the input that are known before the first sequence runs.
struct RunShape {
  /// The most frequent sequence length (ties: the longest): per-position tables cover the sequences of this length.
  std::int64_t common_length = 0;
};

/// A state that adds observations one by one. Splitting the sequences between two states and merging gives the same
/// result (to rounding); the empty state is the identity.
class Metric {
 public:
  virtual ~Metric() = default;
  virtual void add_site(const SiteObservation&) {}
  virtual void add_stream(const StreamObservation&) {}
  virtual void add_loss(const LossObservation&) {}
  virtual void add_jacobian(const JacobianObservation&) {}
  /// `other` is a state made by the same MetricSpec with the same parameters.
  virtual void merge(const Metric& other) = 0;
  virtual Measurement result(const Layout& layout) const = 0;
};

/// Default tolerance of `check`. Where both are set `absolute` holds for |old| >= 0.1 and `relative` (of |old|) below
/// it, because an absolute tolerance would let a small fraction vanish unseen.
struct Tolerance {
  std::optional<double> absolute, relative;
};

struct MetricSpec {
  std::string name;
  std::string unit;
  std::string definition;  ///< one sentence, the text of the report
  int definition_version = 1;
  std::string source;   ///< arXiv id and section, or "defined here"
  std::string range;    ///< for example "[0, 1]"
  std::string cost;     ///< for example "O(T K d)" or "one Q K^T pass"
  std::string example;  ///< a worked example with its answer
  std::string undefined_when;
  std::string since = "0.1.0";
  std::vector<Parameter> parameters = {};
  Tolerance default_tolerance = {};
  bool only_when_named = false;  ///< never part of a preset: costs extra runs of the model
  std::function<Needs(const Parameters&)> needs;
  std::function<std::unique_ptr<Metric>(const Parameters&, const RunShape&)> make;
};

/// All metrics, in the order of their names. Generated (metrics/CMakeLists.txt).
const std::vector<MetricSpec>& all_metrics();

/// Throws UsageError that names the nearest metric if there is none called `name`.
const MetricSpec& find_metric(const std::string& name);

}  // namespace sinkscope
