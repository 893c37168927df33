#include <fmt/core.h>
#include <fmt/ranges.h>

#include "report/facts.h"
#include "report/heads.h"
#include "report/overview.h"
#include "report/render.h"
#include "report/text.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

/// Text inside a table cell: a bar would end the cell, a line end the row.
std::string cell(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '|' ? "\\|" : c == '\n' || c == '\r' ? " " : std::string(1, c);
  return safe;
}

std::string line(const std::vector<std::string>& cells) { return fmt::format("| {} |\n", fmt::join(cells, " | ")); }

std::string heads_section(const Json& report, const TableOptions& options) {
  const std::string quantity = options.sort.empty() ? default_head_quantity(report) : options.sort;
  if (options.heads == 0 || quantity.empty()) return "";
  std::string text = fmt::format("\nStrongest heads by `{}`:\n\n", quantity);
  text += line({"head", "value", "uniform", "dominant key"}) + line({"---", "---:", "---:", "---:"});
  for (const RankedHead& head : strongest_heads(report, quantity, options.heads))
    text += line({head.label, short_number(head.value), short_number(head.uniform),
                  head.dominant_key ? std::to_string(*head.dominant_key) : "-"});
  return text;
}

}  // namespace

std::string render_markdown(const Json& report, const TableOptions& options) {
  std::string text;
  if (!report["complete"].get<bool>())
    text += "**Incomplete: the run was interrupted; values rest on what was finished.**\n\n";
  text += line({"metric", "value", "95 % interval", "uniform", "definition"}) +
          line({"---", "---:", "---:", "---:", "---"});
  for (const std::string& name : metric_names(report, options.metrics)) {
    const Json& metric = report["metrics"][name];
    text += line({fmt::format("`{}`", name), short_number(metric["value"]), short_interval(metric["ci95"]),
                  short_number(metric["uniform"]), cell(metric["definition"].get<std::string>())});
    if (!metric.contains("by_group")) continue;
    for (const Json& group : metric["by_group"])
      text += line({fmt::format("{} {}", group["kind"].get<std::string>(), group["mask"].get<std::string>()),
                    short_number(group["value"]), "", short_number(group["uniform"]), ""});
  }
  const std::string preset = preset_words(report);
  text += fmt::format("\n`{}`, {}, {}{}. {}, {}; {}.\n", report["model"]["path"].get<std::string>(),
                      report["settings"]["dtype"].get<std::string>(), report["settings"]["device"].get<std::string>(),
                      preset.empty() ? "" : ", preset " + preset, size_words(report), source_words(report),
                      position_0_words(report));
  text += heads_section(report, options);
  for (const Json& warning : report["warnings"])
    text += fmt::format("\n> **{}**: {}\n", warning["code"].get<std::string>(), warning["message"].get<std::string>());
  return text;
}

std::string render_markdown_overview(const std::vector<SavedReport>& reports, const TableOptions& options) {
  const Overview overview = overview_of(reports, options);
  std::vector<std::string> rule = {"---"};
  rule.resize(overview.table[0].size(), "---:");
  std::string text;
  for (std::size_t i = 0; i < overview.table.size(); ++i) {
    std::vector<std::string> cells;
    for (const std::string& value : overview.table[i]) cells.push_back(cell(value));
    text += line(cells);
    if (i == 0) text += line(rule);
  }
  return text;
}

}  // namespace sinkscope
