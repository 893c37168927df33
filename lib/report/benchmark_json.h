#pragma once
// Headlines in the interchange format of github-action-benchmark (customSmallerIsBetter, customBiggerIsBetter).

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sinkscope {

struct Benchmarks {
  /// [{"name", "unit", "value", "range", "extra"}], one entry a headline; `range` is the 95 % interval where there is
  /// one.
  nlohmann::ordered_json entries = nlohmann::ordered_json::array();
  std::vector<std::string> without_value;  ///< the format has no null, so these have no entry
};

/// Adds the headlines of a report; `prefix`, a checkpoint, comes before their names as "step1000/sink_rate".
void add_benchmarks(Benchmarks& benchmarks, const nlohmann::ordered_json& report, const std::string& prefix = "");

/// What to tell the user about `without_value`; empty if nothing was left out.
std::string left_out_words(const Benchmarks& benchmarks);

}  // namespace sinkscope
