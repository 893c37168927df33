#pragma once
// The series of one metric, for `show --metric`.

#include <nlohmann/json.hpp>
#include <string>

namespace sinkscope {

/// For each one-dimensional series its values by coordinate; for larger ones their dimensions (heads and CSV show
/// them); then the tables of records such as `locations`, at most ten rows each. Empty for a metric without any.
std::string series_lines(const std::string& name, const nlohmann::ordered_json& metric, std::size_t width);

}  // namespace sinkscope
