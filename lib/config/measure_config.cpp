#include "config/measure_config.h"

#include <fmt/format.h>

#include <cstdlib>
#include <type_traits>

#include "config/settings.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

Json typed(const Setting& setting, const std::vector<std::string>& texts) {
  if (setting.kind == Kind::list) return texts;
  if (texts.empty()) return setting.kind == Kind::flag ? Json(false) : Json(nullptr);
  if (setting.kind == Kind::flag) return true;
  if (setting.kind == Kind::integer) return std::strtoll(texts.front().c_str(), nullptr, 10);
  if (setting.kind == Kind::text) return texts.front();
  Json table = Json::object();
  for (const std::string& text : texts) table[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  return table;
}

Json parameters_json(const Parameters& parameters) {
  Json json = Json::object();
  for (const auto& [name, value] : parameters.entries())
    std::visit([&json, key = name](const auto& v) { json[key] = v; }, value);
  return json;
}

/// TOML shares strings, numbers and lists with JSON but for two details: DEL has to be escaped, and there is no null.
std::string toml_value(const Json& value) {
  if (value.is_object()) {
    std::string text;
    for (const auto& [key, element] : value.items())
      text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", Json(key).dump(), toml_value(element));
    return "{ " + text + " }";
  }
  // A path need not be UTF-8.
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (std::size_t at = 0; (at = text.find('\x7f', at)) != std::string::npos;) text.replace(at, 1, "\\u007f");
  return text;
}

}  // namespace

Needs needs_of(const MeasureConfig& config) {
  Needs needs;
  for (const SelectedMetric& metric : config.metrics) needs.merge(metric.spec->needs(metric.parameters));
  return needs;
}

Json effective_json(const MeasureConfig& config) {
  Json json;
  json["preset"] = config.preset ? Json(*config.preset) : Json(nullptr);
  Json& metrics = json["metrics"] = Json::object();
  for (const SelectedMetric& metric : config.metrics) metrics[metric.spec->name] = parameters_json(metric.parameters);
  for (const Setting& setting : settings())
    if (setting.decides_numbers) json[setting.key] = typed(setting, setting.get(config));
  return json;
}

std::string to_toml(const MeasureConfig& config) {
  std::string text;
  for (const Setting& setting : settings()) {
    const auto texts = setting.get(config);
    if (setting.key.empty() || texts.empty()) continue;
    text += fmt::format("{} = {}\n", setting.key, toml_value(typed(setting, texts)));
  }
  for (const SelectedMetric& metric : config.metrics) {
    if (metric.parameters.entries().empty()) continue;
    text += fmt::format("\n[{}]\n", metric.spec->name);
    const Json parameters = parameters_json(metric.parameters);
    for (const auto& [name, value] : parameters.items()) text += fmt::format("{} = {}\n", name, toml_value(value));
  }
  return text;
}

}  // namespace sinkscope
