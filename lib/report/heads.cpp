#include "report/heads.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/nearest_name.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

const Json kNull;

/// list[i], or null where there is no such element: lists of a saved report may be shorter than its sites.
const Json& element(const Json& list, std::size_t i) { return list.is_array() && i < list.size() ? list[i] : kNull; }
const Json& member(const Json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() ? *at : kNull;
}

bool is_per_head(const Json& series) {
  return series["dims"] == Json::array({"site", "head"}) && series["data"].is_array();
}

/// Values and, where there are any, uniform values, [site][head].
struct Table {
  const Json* values;
  const Json* uniform;
  const Json* metric;
};

std::optional<Table> table_of(const Json& report, const std::string& quantity) {
  const std::size_t dot = quantity.find('.');
  const auto metric = report["metrics"].find(quantity.substr(0, dot));
  if (metric == report["metrics"].end()) return std::nullopt;
  if (dot == std::string::npos)
    return metric->contains("per_head") ? std::optional(Table{&(*metric)["per_head"], &kNull, &*metric}) : std::nullopt;
  const Json& series = member(member(*metric, "series"), quantity.substr(dot + 1).c_str());
  if (!series.is_object() || !is_per_head(series)) return std::nullopt;
  return Table{&series["data"], &member(series, "uniform"), &*metric};
}

/// The uniform value that fits a head: its own, its group's, or the metric's.
Json uniform_of(const Json& report, const Table& table, bool of_series, std::size_t site, std::size_t head) {
  if (of_series) return element(element(*table.uniform, site), head);
  const Json& groups = member(*table.metric, "by_group");
  if (!groups.is_array()) return (*table.metric)["uniform"];
  const Json& info = element(report["sites"], site);
  for (const Json& group : groups)
    if (group["kind"] == member(info, "kind") && group["mask"] == member(info, "mask")) return group["uniform"];
  return nullptr;
}

}  // namespace

const Json& metric_of(const Json& report, const std::string& name) {
  const Json& metrics = report["metrics"];
  if (const auto at = metrics.find(name); at != metrics.end()) return *at;
  std::vector<std::string> names;
  for (const auto& [key, metric] : metrics.items()) names.push_back(key);
  if (names.empty()) throw UsageError(fmt::format("the report holds no metric '{}', nor any other", name));
  throw UsageError(fmt::format("the report holds no metric '{}'{} It holds {}.", name, did_you_mean(name, names),
                               fmt::join(names, ", ")));
}

std::vector<std::string> head_quantities(const Json& report) {
  std::vector<std::string> found;
  for (const auto& [name, metric] : report["metrics"].items()) {
    if (metric.contains("per_head")) found.push_back(name);
    if (!metric.contains("series")) continue;
    for (const auto& [series, content] : metric["series"].items())
      if (is_per_head(content)) found.push_back(name + "." + series);
  }
  return found;
}

std::string default_head_quantity(const Json& report) {
  for (const char* preferred : {"first_token_mass", "sink_rate"})
    if (table_of(report, preferred)) return preferred;
  const auto found = head_quantities(report);
  return found.empty() ? "" : found.front();
}

std::string head_label(const Json& report, std::size_t site, std::size_t head) {
  const Json& layer = member(element(report["sites"], site), "layer");
  std::int64_t sites_in_layer = 0;
  for (const Json& other : report["sites"]) sites_in_layer += other["layer"] == layer;
  if (!layer.is_number() || sites_in_layer != 1) return fmt::format("S{}H{}", site, head);
  return fmt::format("L{}H{}", layer.get<std::int64_t>(), head);
}

std::vector<RankedHead> strongest_heads(const Json& report, const std::string& quantity, std::size_t count) {
  const auto table = table_of(report, quantity);
  if (!table) {
    metric_of(report, quantity.substr(0, quantity.find('.')));
    throw UsageError(fmt::format("{} has no value for each head; these have: {}", quantity,
                                 fmt::join(head_quantities(report), ", ")));
  }
  std::vector<RankedHead> heads;
  for (std::size_t site = 0; site < table->values->size(); ++site)
    for (std::size_t head = 0; head < element(*table->values, site).size(); ++head) {
      const Json& value = (*table->values)[site][head];
      if (value.is_number())
        heads.push_back({.site = site, .head = head, .label = {}, .value = value, .uniform = {}, .dominant_key = {}});
    }
  std::stable_sort(heads.begin(), heads.end(), [](const RankedHead& a, const RankedHead& b) {
    return a.value.get<double>() > b.value.get<double>();
  });
  if (heads.size() > count) heads.resize(count);

  const auto keys = table_of(report, "dominant_key.position");
  for (RankedHead& entry : heads) {
    entry.label = head_label(report, entry.site, entry.head);
    entry.uniform = uniform_of(report, *table, quantity.find('.') != std::string::npos, entry.site, entry.head);
    const Json& key = keys ? element(element(*keys->values, entry.site), entry.head) : kNull;
    if (key.is_number()) entry.dominant_key = key.get<std::int64_t>();
  }
  return heads;
}

}  // namespace sinkscope
