#include "report/series_lines.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "report/text.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kRows = 10;

/// "0.1: .9, 0.2: .7": values by the coordinate of the only dimension.
std::string by_coordinate(const Json& series) {
  const std::string dim = series["dims"][0].get<std::string>();
  const Json coords =
      series.contains("coords") && series["coords"].contains(dim) ? series["coords"][dim]["data"] : Json();
  std::vector<std::string> entries;
  for (std::size_t i = 0; i < series["data"].size(); ++i) {
    const std::string at = i < coords.size() ? coords[i].dump() : std::to_string(i);
    entries.push_back(fmt::format("{}: {}", at, short_number(series["data"][i])));
  }
  return fmt::format("by {}  {}", dim, fmt::join(entries, ", "));
}

std::string shape_words(const Json& series) {
  std::vector<std::string> dims;
  const Json* level = &series["data"];
  for (const Json& dim : series["dims"]) {
    dims.push_back(fmt::format("{} {}", level->is_array() ? level->size() : 0, dim.get<std::string>()));
    if (level->is_array() && !level->empty()) level = &(*level)[0];
  }
  return fmt::format("{} values; --csv lists them, --sort ranks heads", fmt::join(dims, " x "));
}

std::string record_table(const Json& records) {
  std::vector<std::vector<std::string>> rows(1);
  if (records.empty()) return "    none\n";
  for (const auto& [column, cell] : records[0].items()) rows[0].push_back(column);
  for (std::size_t i = 0; i < std::min(records.size(), kRows); ++i) {
    rows.emplace_back();
    for (const std::string& column : rows[0]) {
      const Json cell = records[i].contains(column) ? records[i][column] : Json();
      rows.back().push_back(cell.is_number_float() ? short_number(cell)
                            : cell.is_string()     ? cell.get<std::string>()
                            : cell.is_null()       ? "-"
                                                   : cell.dump());
    }
  }
  std::string text = aligned(rows, std::vector<bool>(rows[0].size(), true), "    ");
  if (records.size() > kRows) text += fmt::format("    ... {} more; --csv lists them\n", records.size() - kRows);
  return text;
}

}  // namespace

std::string series_lines(const std::string& name, const Json& metric, std::size_t width) {
  std::string text;
  if (metric.contains("series"))
    for (const auto& [key, series] : metric["series"].items()) {
      const std::string unit = series["attrs"]["unit"].get<std::string>();
      const bool line = series["dims"].size() == 1 && series["data"].is_array();
      const std::string words =
          fmt::format("{}.{} ({}): {}", name, key, unit, line ? by_coordinate(series) : shape_words(series));
      std::string indent = "  ";
      for (const std::string& part : wrapped(words, std::max<std::size_t>(width, 40) - 4, 99)) {
        text += indent + part + "\n";
        indent = "    ";
      }
    }
  for (const auto& [key, records] : metric.items())
    if (records.is_array() && !records.empty() && records[0].is_object() && key != "by_group")
      text += fmt::format("  {}.{}\n", name, key) + record_table(records);
  return text.empty() ? "" : "\n" + text;
}

}  // namespace sinkscope
