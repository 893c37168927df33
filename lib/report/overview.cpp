#include "report/overview.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/nearest_name.h"
#include "report/text.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

Json headline(const Json& report, const std::string& metric) {
  const auto at = report["metrics"].find(metric);
  return at == report["metrics"].end() ? Json() : (*at)["value"];
}

void check_known(const std::string& wanted, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), wanted) != known.end()) return;
  throw UsageError(fmt::format("none of the reports holds a metric '{}'{} They hold {}.", wanted,
                               did_you_mean(wanted, known), fmt::join(known, ", ")));
}

}  // namespace

Overview overview_of(const std::vector<SavedReport>& reports, const TableOptions& options) {
  std::vector<std::string> known;
  for (const SavedReport& report : reports)
    for (const auto& [name, metric] : report.json["metrics"].items())
      if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
  for (const std::string& name : options.metrics) check_known(name, known);
  const std::vector<std::string>& columns = options.metrics.empty() ? known : options.metrics;

  std::vector<const SavedReport*> order;
  for (const SavedReport& report : reports) order.push_back(&report);
  if (!options.sort.empty()) {
    check_known(options.sort, known);
    const auto rank = [&](const SavedReport* report) {
      const Json value = headline(report->json, options.sort);
      return value.is_number() ? value.get<double>() : -std::numeric_limits<double>::infinity();
    };
    std::stable_sort(order.begin(), order.end(), [&](const auto* a, const auto* b) { return rank(a) > rank(b); });
  }

  Overview overview;
  overview.table.push_back({"report"});
  for (const std::string& name : columns) overview.table[0].push_back(name);
  for (const SavedReport* report : order) {
    overview.table.push_back({report->name + (report->json["complete"].get<bool>() ? "" : " (incomplete)")});
    for (const std::string& name : columns) overview.table.back().push_back(short_number(headline(report->json, name)));
  }
  return overview;
}

std::string render_overview(const std::vector<SavedReport>& reports, const TableOptions& options) {
  Overview overview = overview_of(reports, options);
  std::size_t used = 0, shown = 0;
  for (; shown < overview.table[0].size(); ++shown) {
    std::size_t width = 0;
    for (const auto& row : overview.table) width = std::max(width, row[shown].size());
    used += width + (shown > 0 ? 2 : 0);
    if (shown > 1 && used > options.width) break;  // the name and one metric stay, however narrow the terminal
  }
  std::vector<bool> right(shown, true);
  right[0] = false;
  std::string text = aligned(overview.table, right);
  const std::size_t end = text.find('\n');
  text = bold(text.substr(0, end), options.color) + text.substr(end);
  if (shown < overview.table[0].size())
    text += fmt::format(
        "not shown for want of width: {} (choose with --metric, or --csv)\n",
        fmt::join(overview.table[0].begin() + static_cast<std::ptrdiff_t>(shown), overview.table[0].end(), ", "));
  return text;
}

}  // namespace sinkscope
