#pragma once
// Runs an instrumented model over sequences and feeds the metrics.

#include <exception>
#include <functional>
#include <optional>
#include <vector>

#include "config/measure_config.h"
#include "input/input.h"
#include "measure/arrays.h"
#include "measure/instrument.h"
#include "report/report.h"

namespace sinkscope {

struct MeasureHooks {
  std::function<bool()> interrupted = [] { return false; };  ///< asked between batches
  std::function<void(std::int64_t sequences, std::int64_t tokens)> progress = [](auto, auto) {};
  Arrays* arrays = nullptr;  ///< also fed, if given
};

struct MeasureResult {
  std::vector<MetricResult> metrics;
  std::vector<Warning> warnings;
  Layout layout;  ///< with what the calls showed
  RunInfo run;
  std::int64_t positions = 0;      ///< queries of the first site: the length of sequences that are rows of numbers
  std::vector<std::size_t> ran;    ///< indices of the sequences that the metrics cover, ascending
  bool complete = true;            ///< false: interrupted
  std::exception_ptr problem;      ///< an error after the first batch: what ran before it is here, complete is false
  bool numerical_failure = false;  ///< a NaN, an Inf or a wrong row sum was found
};

/// Runs every batch once (and once more with gradients where a metric needs the Jacobian). The model's output is not
/// changed. Throws InputError if the model fails or a site that cannot be in an untaken branch never fired, DeviceError
/// when memory runs out.
MeasureResult measure(const InstrumentedModel& model, const MeasureConfig& config, const Input& input,
                      const MeasureHooks& hooks);

}  // namespace sinkscope
