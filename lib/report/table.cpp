#include <fmt/core.h>

#include <algorithm>

#include "report/facts.h"
#include "report/heads.h"
#include "report/render.h"
#include "report/series_lines.h"
#include "report/text.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

/// Below this a definition gets its own line instead of a last column.
constexpr std::size_t kReadable = 40;

struct Row {
  std::vector<std::string> cells;
  std::string definition;
};

std::vector<Row> headline_rows(const Json& report, const std::vector<std::string>& names) {
  std::vector<Row> rows;
  for (const std::string& name : names) {
    const Json& metric = report["metrics"][name];
    rows.push_back(
        {{name, short_number(metric["value"]), short_interval(metric["ci95"]), short_number(metric["uniform"])},
         metric["definition"].get<std::string>()});
    if (!metric.contains("by_group")) continue;
    for (const Json& group : metric["by_group"])
      rows.push_back({{fmt::format("  {} {}", group["kind"].get<std::string>(), group["mask"].get<std::string>()),
                       short_number(group["value"]), "", short_number(group["uniform"])},
                      ""});
  }
  return rows;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::string headlines(const Json& report, const std::vector<std::string>& names, const TableOptions& options) {
  const std::vector<Row> rows = headline_rows(report, names);
  std::vector<std::vector<std::string>> cells = {{"metric", "value", "95% interval", "uniform"}};
  for (const Row& row : rows) cells.push_back(row.cells);
  const std::vector<std::string> lines = lines_of(aligned(cells, {false, true, true, true}));
  std::size_t width = 0;
  for (const std::string& line : lines) width = std::max(width, line.size());

  const bool beside = options.width >= width + 2 + kReadable;
  const std::size_t room = beside ? options.width - width - 2 : std::max(options.width, kReadable) - 2;
  std::string text =
      bold(lines[0] + (beside ? std::string(width - lines[0].size() + 2, ' ') + "definition" : ""), options.color) +
      "\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto parts = wrapped(rows[i].definition, room, options.metrics.empty() ? 2 : 9);
    text += lines[i + 1];
    for (std::size_t k = 0; k < parts.size() && !rows[i].definition.empty(); ++k) {
      if (k > 0 || !beside) text += "\n";
      const std::size_t filled = beside && k == 0 ? lines[i + 1].size() : 0;
      text += std::string(beside ? width + 2 - filled : 2, ' ') + dim(parts[k], options.color);
    }
    text += "\n";
  }
  return text;
}

std::string paragraph(const std::string& text, std::size_t width) {
  std::string result;
  for (const std::string& line : wrapped(text, std::max(width, kReadable) - 2, 99))
    result += (result.empty() ? "" : "  ") + line + "\n";
  return result;
}

std::string run_line(const Json& report) {
  std::string line = report["model"]["path"].get<std::string>();
  if (const Json& weights = report["model"]["weights"]; weights.is_object())
    line += " with " + weights["path"].get<std::string>();
  line +=
      ", " + report["settings"]["dtype"].get<std::string>() + ", " + report["settings"]["device"].get<std::string>();
  if (const std::string preset = preset_words(report); !preset.empty()) line += ", preset " + preset;
  return line;
}

std::string note(const std::string& text, const TableOptions& options) {
  std::string lines = paragraph(text, options.width);
  lines.pop_back();
  return yellow(lines, options.color) + "\n";
}

std::string rejections(const Json& report, const std::vector<std::string>& names, const TableOptions& options) {
  std::string text;
  for (const std::string& name : names) {
    const Json& metric = report["metrics"][name];
    if (metric["rejected"].get<std::int64_t>() > 0)
      text +=
          note(fmt::format("{}: {} of its samples were rejected (NaN, or rows that do not have the sum they should)",
                           name, metric["rejected"].dump()),
               options);
  }
  return text;
}

}  // namespace

std::vector<std::string> metric_names(const Json& report, const std::vector<std::string>& wanted) {
  std::vector<std::string> names;
  for (const std::string& name : wanted) {
    metric_of(report, name);
    names.push_back(name);
  }
  if (wanted.empty())
    for (const auto& [name, metric] : report["metrics"].items()) names.push_back(name);
  return names;
}

std::string render_heads(const Json& report, const TableOptions& options) {
  std::string quantity = options.sort;
  for (const std::string& name : options.metrics)
    if (quantity.empty() && metric_of(report, name).contains("per_head")) quantity = name;
  if (quantity.empty()) quantity = default_head_quantity(report);
  if (quantity.empty()) return "no metric of this report has a value for each head\n";
  std::vector<std::vector<std::string>> rows;
  for (const RankedHead& head : strongest_heads(report, quantity, options.heads)) {
    rows.push_back({head.label, short_number(head.value)});
    if (head.uniform.is_number()) rows.back().back() += ",";
    rows.back().push_back(
        head.uniform.is_number() ? "uniform " + short_number(head.uniform) + (head.dominant_key ? "," : "") : "");
    if (head.dominant_key) rows.back().push_back(fmt::format("dominant key {}", *head.dominant_key));
  }
  if (rows.empty()) return fmt::format("no head has a value of {}\n", quantity);
  return bold(fmt::format("strongest heads by {}", quantity), options.color) + "\n" +
         aligned(rows, {false, false, false, false}, "  ", 1);
}

std::string render_table(const Json& report, const TableOptions& options) {
  const std::vector<std::string> names = metric_names(report, options.metrics);
  std::string text = paragraph(run_line(report), options.width) + "\n";
  if (!report["complete"].get<bool>())
    text += note("INCOMPLETE: the run was interrupted; values rest on what was finished", options);
  text += headlines(report, names, options);
  if (!options.metrics.empty())
    for (const std::string& name : names) text += series_lines(name, report["metrics"][name], options.width);
  text += "\n" +
          paragraph(size_words(report) + ", " + source_words(report) + "; " + position_0_words(report), options.width);
  if (options.heads > 0 && !default_head_quantity(report).empty()) text += "\n" + render_heads(report, options);

  std::string notes = rejections(report, names, options);
  for (const Json& warning : report["warnings"])
    notes +=
        note(fmt::format("warning: {} ({})", warning["message"].get<std::string>(), warning["code"].get<std::string>()),
             options);
  return text + (notes.empty() ? "" : "\n" + notes);
}

}  // namespace sinkscope
