#pragma once
// What the chosen metrics need from the run of the model: plain data, the union over the metrics, known before the
// graph is rewritten. Only what is needed is tapped and computed; `--dry-run` prints it.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace sinkscope {

/// Vector-Jacobian products of the last stream with respect to stream 0.
struct JacobianNeeds {
  std::vector<std::int64_t> targets;  ///< target positions; negative counts from the end
  std::int64_t probes = 16;           ///< Rademacher probes a target; 0 = all d basis vectors (exact)
  std::int64_t seed = 0;
  bool operator==(const JacobianNeeds&) const = default;
};

struct Needs {
  // Attention, O(T K d) given the log-sum-exp.
  std::int64_t first_keys = 0;              ///< attention of every query to keys [0, first_keys)
  std::int64_t after_first_k = 0;           ///< k of `after_first_k`; 0: not needed
  std::int64_t tail_window = 0;             ///< last queries whose attention to key 0 is averaged; 0: not needed
  std::vector<std::int64_t> triggers = {};  ///< token ids left out of `non_trigger`; empty: not needed
  bool learned_sink = false;                ///< what goes to a learned sink, from the log-sum-exp
  // Attention, one more Q K^T pass.
  bool column_sums = false;
  bool entropy = false;
  // Norms, bandwidth only.
  bool key_norms = false;
  bool value_norms = false;
  bool head_output_norms = false;
  bool stream_norms = false;
  /// Largest and median magnitudes of every stream, and the elements above both thresholds.
  bool stream_extremes = false;
  double massive_magnitude = 100;  ///< listed elements exceed this
  double massive_ratio = 1000;     ///< and are at least this multiple of the lower median
  bool loss = false;
  std::optional<JacobianNeeds> jacobian = {};

  bool operator==(const Needs&) const = default;

  bool attention() const {
    return first_keys > 0 || learned_sink || column_sums || entropy || key_norms || value_norms || head_output_norms;
  }
  bool full_pass() const { return column_sums || entropy; }
  bool streams() const { return stream_norms || stream_extremes; }

  /// Union. Of two metrics that set the same scalar differently the larger demand wins.
  void merge(const Needs& other) {
    first_keys = std::max(first_keys, other.first_keys);
    after_first_k = std::max(after_first_k, other.after_first_k);
    tail_window = std::max(tail_window, other.tail_window);
    if (!other.triggers.empty()) triggers = other.triggers;
    learned_sink |= other.learned_sink;
    column_sums |= other.column_sums;
    entropy |= other.entropy;
    key_norms |= other.key_norms;
    value_norms |= other.value_norms;
    head_output_norms |= other.head_output_norms;
    stream_norms |= other.stream_norms;
    if (other.stream_extremes) {
      massive_magnitude =
          stream_extremes ? std::min(massive_magnitude, other.massive_magnitude) : other.massive_magnitude;
      massive_ratio = stream_extremes ? std::min(massive_ratio, other.massive_ratio) : other.massive_ratio;
      stream_extremes = true;
    }
    loss |= other.loss;
    if (other.jacobian) jacobian = other.jacobian;
  }
};

}  // namespace sinkscope
