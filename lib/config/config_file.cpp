// One of two files that include toml++ (5 s to compile); the other is check/read_rules.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>

#include "base/error.h"
#include "base/nearest_name.h"
#include "config/setting_source.h"

namespace sinkscope {
namespace {

std::string place(const std::string& file, const toml::source_region& region) {
  return fmt::format("{}:{}", file, region.begin.line);
}

/// Text of a scalar as parse_parameter and Setting::set take it.
std::string scalar_text(const toml::node& node, const std::string& where) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* truth = node.as_boolean()) return truth->get() ? "true" : "false";
  throw UsageError(fmt::format("{}: expects text, a number, true or false, or a list of these", where));
}

std::vector<std::string> list_texts(const toml::node& node, const std::string& where) {
  std::vector<std::string> texts;
  for (const toml::node& element : *node.as_array()) texts.push_back(scalar_text(element, where));
  return texts;
}

[[noreturn]] void wrong_type(const std::string& where, const char* expected) {
  throw UsageError(fmt::format("{}: expects {}", where, expected));
}

/// TOML has types, so `limit = "5"` is refused where a flag could not tell it from 5. Ids and globs may be given
/// without a list.
std::vector<std::string> setting_texts(const Setting& setting, const toml::node& node, const std::string& where) {
  switch (setting.kind) {
    case Kind::flag:
      if (!node.is_boolean()) wrong_type(where, "true or false");
      break;
    case Kind::integer:
      if (!node.is_integer()) wrong_type(where, "a whole number");
      break;
    case Kind::text:
      // `bos = 1` is an id.
      if (!node.is_string() && !(setting.key == "bos" && node.is_integer())) wrong_type(where, "text in quotes");
      break;
    case Kind::list:
      if (node.is_array()) return list_texts(node, where);
      if (!node.is_string()) wrong_type(where, "a list of texts, like [\"a\", \"b\"]");
      break;
    case Kind::table: {
      if (!node.is_table()) wrong_type(where, "a table, like { name = \"value\" }");
      std::vector<std::string> texts;
      for (const auto& [key, value] : *node.as_table())
        texts.push_back(fmt::format("{}={}", key.str(), scalar_text(value, where)));
      return texts;
    }
  }
  return {scalar_text(node, where)};
}

const char* form_of(const ParameterValue& declared) {
  static constexpr const char* forms[] = {"true or false",  "a whole number",          "a number",
                                          "text in quotes", "a list of whole numbers", "a list of numbers",
                                          "a list of texts"};
  return forms[declared.index()];
}

bool fits(const ParameterValue& declared, const toml::node& node) {
  if (std::holds_alternative<bool>(declared)) return node.is_boolean();
  if (std::holds_alternative<std::int64_t>(declared)) return node.is_integer();
  if (std::holds_alternative<double>(declared)) return node.is_number();
  if (std::holds_alternative<std::string>(declared)) return node.is_string();
  const toml::array* list = node.as_array();
  if (list == nullptr) return false;
  return std::all_of(list->begin(), list->end(), [&](const toml::node& element) {
    if (std::holds_alternative<std::vector<std::int64_t>>(declared)) return element.is_integer();
    if (std::holds_alternative<std::vector<double>>(declared)) return element.is_number();
    return element.is_string();
  });
}

void read_metric(SettingSource& source, const MetricSpec& metric, const toml::node& node, const std::string& file) {
  const toml::table* table = node.as_table();
  if (table == nullptr)
    wrong_type(fmt::format("{}: {}", place(file, node.source()), metric.name), "a table of its parameters");
  for (const auto& [key, value] : *table) {
    const std::string name(key.str());
    const std::string where = fmt::format("{}: {}.{}", place(file, value.source()), metric.name, name);
    const auto declared = std::find_if(metric.parameters.begin(), metric.parameters.end(),
                                       [&](const Parameter& parameter) { return parameter.name == name; });
    if (declared == metric.parameters.end()) {
      std::vector<std::string> names;
      for (const Parameter& parameter : metric.parameters) names.push_back(parameter.name);
      throw UsageError(names.empty() ? fmt::format("{}: unknown key; {} has no parameters", where, metric.name)
                                     : fmt::format("{}: unknown key{}", where, did_you_mean(name, names)));
    }
    if (!fits(declared->value, value)) wrong_type(where, form_of(declared->value));
    const auto texts =
        value.is_array() ? list_texts(value, where) : std::vector<std::string>{scalar_text(value, where)};
    source.parameters[{metric.name, name}] = {{fmt::format("{}", fmt::join(texts, ","))}, place(file, value.source())};
  }
}

void read_key(SettingSource& source, const std::string& key, const toml::node& node, const std::string& file) {
  std::vector<std::string> valid;
  for (const Setting& setting : settings()) {
    if (setting.key.empty()) continue;
    if (setting.key == key) {
      const std::string where = fmt::format("{}: {}", place(file, node.source()), key);
      source.settings[long_flag(setting)] = {setting_texts(setting, node, where), where};
      return;
    }
    valid.push_back(setting.key);
  }
  for (const MetricSpec& metric : all_metrics()) {
    if (metric.name == key) return read_metric(source, metric, node, file);
    valid.push_back(metric.name);
  }
  throw UsageError(fmt::format("{}: unknown key '{}'{}", place(file, node.source()), key, did_you_mean(key, valid)));
}

}  // namespace

SettingSource from_toml(std::string_view text, const std::string& name, bool is_preset) {
  SettingSource source;
  try {
    for (const auto& [key, node] : toml::parse(text, name)) {
      if (is_preset && key.str() == "protocol") {
        source.protocol = scalar_text(node, name);
      } else {
        read_key(source, std::string(key.str()), node, name);
      }
    }
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}: {}", place(name, error.source()), error.description()));
  }
  return source;
}

}  // namespace sinkscope
