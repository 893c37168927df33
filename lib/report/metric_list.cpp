#include "report/metric_list.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "report/report.h"
#include "report/text.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const ParameterValue& value) {
  return std::visit([](const auto& held) -> Json { return held; }, value);
}

std::string text_of(const ParameterValue& value) {
  const Json json = json_of(value);
  return json.is_string() ? json.get<std::string>() : json.dump();
}

std::string tolerance_words(const Tolerance& tolerance) {
  std::vector<std::string> words;
  if (tolerance.absolute) words.push_back(fmt::format("{}", *tolerance.absolute));
  if (tolerance.relative) words.push_back(fmt::format("{:.3g} %", *tolerance.relative * 100));
  return words.empty() ? "-" : fmt::format("{}", fmt::join(words, " or "));
}

/// A bar would end a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '|' ? "\\|" : std::string(1, c);
  return safe;
}

}  // namespace

std::string list_as_text(const std::vector<MetricSpec>& metrics, std::size_t width, bool color) {
  const std::size_t room = std::max<std::size_t>(width, 40);
  std::string text;
  const auto add = [&](const std::string& words, const std::string& indent) {
    std::string lead = indent;
    for (const std::string& line : wrapped(words, room - indent.size() - 2, 99)) {
      text += lead + line + "\n";
      lead = indent + "  ";
    }
  };
  for (const MetricSpec& metric : metrics) {
    text += (text.empty() ? "" : "\n") + bold(metric.name, color) +
            fmt::format("  [{}]{}\n", metric.unit, metric.only_when_named ? "  runs only when named" : "");
    add(metric.definition, "  ");
    for (const Parameter& parameter : metric.parameters)
      add(fmt::format("{} = {}{}: {}", parameter.name, text_of(parameter.value),
                      parameter.choices.size() < 2 ? "" : fmt::format(" ({})", fmt::join(parameter.choices, ", ")),
                      parameter.help),
          "    ");
    add(fmt::format("range {}; cost {}; default tolerance {}; {}", metric.range, metric.cost,
                    tolerance_words(metric.default_tolerance), metric.source),
        "  ");
  }
  return text;
}

std::string list_as_markdown(const std::vector<MetricSpec>& metrics) {
  std::string text =
      "| metric | unit | definition | parameters | cost | default tolerance |\n| --- | --- | --- | --- | --- | --- |\n";
  for (const MetricSpec& metric : metrics) {
    std::vector<std::string> parameters;
    for (const Parameter& parameter : metric.parameters)
      parameters.push_back(fmt::format("`{}` = {}", parameter.name, cell(text_of(parameter.value))));
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", metric.name, cell(metric.unit), cell(metric.definition),
                        fmt::join(parameters, ", "), cell(metric.cost), tolerance_words(metric.default_tolerance));
  }
  return text;
}

std::string list_as_json(const std::vector<MetricSpec>& metrics) {
  Json list = Json::array();
  for (const MetricSpec& metric : metrics) {
    Json parameters = Json::array(), tolerance = Json::object();
    for (const Parameter& parameter : metric.parameters)
      parameters.push_back({{"name", parameter.name},
                            {"default", json_of(parameter.value)},
                            {"choices", parameter.choices.empty() ? Json() : Json(parameter.choices)},
                            {"help", parameter.help}});
    if (metric.default_tolerance.absolute) tolerance["abs"] = *metric.default_tolerance.absolute;
    if (metric.default_tolerance.relative) tolerance["rel"] = *metric.default_tolerance.relative;
    list.push_back({{"name", metric.name},
                    {"unit", metric.unit},
                    {"range", metric.range},
                    {"definition", metric.definition},
                    {"definition_version", metric.definition_version},
                    {"source", metric.source},
                    {"cost", metric.cost},
                    {"example", metric.example},
                    {"undefined_when", metric.undefined_when},
                    {"since", metric.since},
                    {"only_when_named", metric.only_when_named},
                    {"parameters", parameters},
                    {"default_tolerance", tolerance}});
  }
  return dump(list);
}

}  // namespace sinkscope
