#pragma once
// Which heads of a report are strongest.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace sinkscope {

struct RankedHead {
  std::size_t site = 0, head = 0;
  std::string label;                      ///< L3H7; S5H7 (site 5) where a layer has several sites or the site none
  nlohmann::ordered_json value, uniform;  ///< numbers; uniform may be null
  std::optional<std::int64_t> dominant_key;
};

/// The `count` heads with the largest value of `quantity`, largest first (ties: in site order); heads without a value
/// are left out. `quantity` is a metric with `per_head`, or METRIC.SERIES for a series [site, head]. Throws UsageError
/// otherwise, naming what there is.
std::vector<RankedHead> strongest_heads(const nlohmann::ordered_json& report, const std::string& quantity,
                                        std::size_t count);

/// All quantities that strongest_heads() takes.
std::vector<std::string> head_quantities(const nlohmann::ordered_json& report);

/// first_token_mass, else sink_rate, else the first there is; empty for a report without per-head values.
std::string default_head_quantity(const nlohmann::ordered_json& report);

/// report["metrics"][name]; throws UsageError that names the nearest metric of the report.
const nlohmann::ordered_json& metric_of(const nlohmann::ordered_json& report, const std::string& name);

/// L3H7, or S5H7 where the layer does not identify the site.
std::string head_label(const nlohmann::ordered_json& report, std::size_t site, std::size_t head);

}  // namespace sinkscope
