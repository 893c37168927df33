#pragma once
// What measuring costs: the plain run and each preset, interleaved in one process.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/measure_config.h"
#include "input/input.h"
#include "measure/instrument.h"

namespace sinkscope {

struct Timing {
  std::vector<double> seconds;         ///< one per round
  std::int64_t peak_memory_bytes = 0;  ///< most bytes the tensor allocator held, beyond the parameters
};

struct PresetCost {
  std::string name;
  Timing timing;
  double ratio_to_plain = 0;        ///< median over rounds of preset / plain in the same round
  std::vector<std::string> passes;  ///< what runs besides the model
};

/// Of scaled dot-product attention only; empty for models that build the matrix themselves.
struct AttentionCost {
  double share_of_plain = 0;  ///< attention's share of the plain forward
  /// The pass over all keys / the attention forward of the same calls; with the log-sum-exp where the forward gave
  /// none.
  double fused_pass_ratio = 0;
};

struct BenchResult {
  Timing plain;
  std::vector<PresetCost> presets;
  std::optional<AttentionCost> attention;
};

/// Each round runs the plain graph and then every preset over the whole input, once uncounted before the first.
/// `presets`: name and configuration, which differ in their metrics only.
BenchResult bench(const InstrumentedModel& model, const Input& input,
                  const std::vector<std::pair<std::string, MeasureConfig>>& presets, std::int64_t runs);

double median(std::vector<double> values);

}  // namespace sinkscope
