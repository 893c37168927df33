#include <fmt/format.h>

#include <cmath>

#include "check/diff.h"
#include "check/tolerance.h"
#include "report/text.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kFactWidth = 60;  ///< characters of one side of a fact on the terminal; JSON has all

std::string shown(const Json& value) {
  if (value.is_null()) return "-";
  std::string text =
      value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  const bool is_hash = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (is_hash) return text.substr(0, 12);
  return text.size() > kFactWidth ? text.substr(0, kFactWidth) + "..." : text;
}

std::string prefix(const std::string& checkpoint) { return checkpoint.empty() ? "" : checkpoint + ": "; }

std::vector<std::string> row_of(const Change& change) {
  const Comparison& c = change.numbers;
  const auto one = [](const std::optional<double>& value) { return value ? fmt::format("{:.4g}", *value) : "-"; };
  const TwoNumbers both =
      c.change ? told_apart(*c.old_value, *c.new_value) : TwoNumbers{one(c.old_value), one(c.new_value)};
  return {std::isfinite(change.units) ? fmt::format("{:.3g}", change.units) : "-", both.first, both.second,
          c.change ? fmt::format("{:+.3g}", *c.change) : "-", prefix(c.checkpoint) + place_of(c)};
}

void append_section(std::string& text, const Diff& diff, const char* title, std::size_t rows, bool color,
                    bool (*belongs)(const Comparison&)) {
  std::vector<std::vector<std::string>> table = {{"units", "A", "B", "change", ""}};
  std::size_t all = 0;
  for (const Change& change : diff.changes) {
    if (!belongs(change.numbers)) continue;
    if (++all <= rows) table.push_back(row_of(change));
  }
  if (all == 0) return;
  text += bold(fmt::format("\n{} that differ: {}", title, all), color) + "\n";
  text += aligned(table, {true, true, true, true, false}, "  ");
  if (all > rows) text += fmt::format("  ... and {} more; --rows shows them, --json all\n", all - rows);
}

bool is_series(const Comparison& c) { return c.metric.find('.') != std::string::npos; }

}  // namespace

std::string diff_as_text(const Diff& diff, std::size_t rows, bool color) {
  std::string text = fmt::format("A: {}\nB: {}\n", diff.a == "-" ? "stdin" : diff.a, diff.b == "-" ? "stdin" : diff.b);
  if (!diff.facts.empty()) {
    text += bold("\nHow, where and on what they were measured:", color) + "\n";
    std::vector<std::vector<std::string>> table;
    for (const FactDifference& fact : diff.facts)
      table.push_back({prefix(fact.checkpoint) + fact.name, shown(fact.a), "->", shown(fact.b)});
    text += aligned(table, {false, false, false, false}, "  ");
  }
  append_section(text, diff, "Headlines", rows, color,
                 [](const Comparison& c) { return c.scope == Scope::model && !is_series(c); });
  append_section(text, diff, "Sites", rows, color,
                 [](const Comparison& c) { return c.scope == Scope::site && !is_series(c); });
  append_section(text, diff, "Heads", rows, color,
                 [](const Comparison& c) { return c.scope == Scope::head && !is_series(c); });
  append_section(text, diff, "Elements of series", rows, color, [](const Comparison& c) { return is_series(c); });
  text += fmt::format("\n{} of {} numbers differ", diff.changes.size(), diff.compared);
  if (!diff.changes.empty())
    text += "; units: |change| / default tolerance of the metric (- : none allowed, or no value)";
  return text + ".\n";
}

Json diff_as_json(const Diff& diff) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  const auto index = [](const std::optional<std::size_t>& value) { return value ? Json(*value) : Json(); };
  Json json = {
      {"schema_version", "1.0"},  {"kind", "diff"}, {"different", diff.differs()}, {"a", diff.a}, {"b", diff.b},
      {"compared", diff.compared}};
  json["facts"] = Json::array();
  for (const FactDifference& fact : diff.facts)
    json["facts"].push_back({{"checkpoint", text_or_null(fact.checkpoint)},
                             {"fact", fact.name},
                             {"a", fact.a},
                             {"b", fact.b},
                             {"counts", fact.counts}});
  json["changes"] = Json::array();
  for (const Change& change : diff.changes) {
    const Comparison& c = change.numbers;
    json["changes"].push_back({{"checkpoint", text_or_null(c.checkpoint)},
                               {"metric", c.metric},
                               {"scope", c.metric.find('.') == std::string::npos ? name_of(c.scope) : "series"},
                               {"site", index(c.site)},
                               {"path", text_or_null(c.site_path)},
                               {"head", index(c.head)},
                               {"coordinate", text_or_null(c.coordinate)},
                               {"a", number(c.old_value)},
                               {"b", number(c.new_value)},
                               {"change", number(c.change)},
                               {"tolerance", number(c.tolerance)},
                               {"units", std::isfinite(change.units) ? Json(change.units) : Json()}});
  }
  return json;
}

}  // namespace sinkscope
