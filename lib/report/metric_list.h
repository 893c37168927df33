#pragma once
// The table of metrics as `sinkscope list` prints it and the README shows it.

#include <string>
#include <vector>

#include "metric/metric.h"

namespace sinkscope {

/// For people: each metric with definition, unit, range, parameters, cost and default tolerance. `width` in columns, at
/// least 40.
std::string list_as_text(const std::vector<MetricSpec>& metrics, std::size_t width, bool color);

/// One GitHub table, one row a metric.
std::string list_as_markdown(const std::vector<MetricSpec>& metrics);

/// [{"name", "unit", "range", "definition", "definition_version", "source", "cost", "example", "undefined_when",
/// "since", "only_when_named",
///   "parameters": [{"name", "default", "choices", "help"}], "default_tolerance": {"abs"} | {"rel"}}]
std::string list_as_json(const std::vector<MetricSpec>& metrics);

}  // namespace sinkscope
