#pragma once
// What makes two reports, or one metric of them, incomparable.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "check/comparison.h"

namespace sinkscope {

struct Difference {
  Reason reason{};
  std::string words;  ///< "dtype float32 -> bfloat16"
};

/// Differences of the whole runs: completeness, ids that ran, tokenizer, dtype, number and kind of sites, heads.
std::vector<Difference> run_differences(const nlohmann::ordered_json& from, const nlohmann::ordered_json& to);

/// Differences in the definition of one metric: version, unit, parameters.
std::vector<Difference> metric_differences(const nlohmann::ordered_json& from, const nlohmann::ordered_json& to);

/// What differs and makes nothing incomparable: site paths, device, libtorch, ... "site 2: path m.a -> m.b".
std::vector<std::string> remarks(const nlohmann::ordered_json& from, const nlohmann::ordered_json& to);

}  // namespace sinkscope
