#include "sweep/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "files/atomic_file.h"
#include "report/render.h"
#include "report/text.h"

namespace sinkscope {
namespace {

using Values = std::vector<std::optional<double>>;

/// Of the rows that have a report, in their order.
Values values_of(const SweepIndex& index, const std::string& metric) {
  Values values;
  for (const SweepRow& row : index.rows) {
    const auto headlines = index.headlines.find(row.name);
    if (!row.report || headlines == index.headlines.end()) continue;
    const auto value = headlines->second.find(metric);
    values.push_back(value == headlines->second.end() ? std::nullopt : value->second);
  }
  return values;
}

std::string shown(const std::optional<double>& value) {
  return short_number(value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json());
}

std::string counts_line(const SweepIndex& index) {
  std::string text = fmt::format("{} checkpoints", index.rows.size() - count(index, "missing"));
  const char* separator = ": ";
  for (const char* status : {"done", "duplicate", "failed", "pending", "missing"}) {
    if (count(index, status) == 0) continue;
    text += fmt::format("{}{} {}", separator, count(index, status), status);
    separator = ", ";
  }
  return text;
}

std::string steps_of(const SweepIndex& index) {
  std::optional<std::int64_t> first, last;
  for (const SweepRow& row : index.rows) {
    if (!row.report || !row.step) continue;
    if (!first) first = row.step;
    last = row.step;
  }
  if (!first) return "";
  return first == last ? fmt::format("step {}", *first) : fmt::format("steps {} to {}", *first, *last);
}

std::string metric_table(const SweepIndex& index, const SummaryOptions& options) {
  std::vector<std::vector<std::string>> table = {{"metric", "", "first", "last", "lowest", "highest"}};
  std::size_t name_width = 0;
  for (const auto& [metric, unit] : index.units) name_width = std::max(name_width, metric.size());
  const std::size_t room = options.width > name_width + 40 ? options.width - name_width - 40 : 8;
  for (const auto& [metric, unit] : index.units) {
    const Values values = values_of(index, metric);
    if (values.empty()) continue;
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const auto& value : values)
      if (value) low = std::min(low, *value), high = std::max(high, *value);
    const bool none = high < low;
    const bool share = unit == "fraction" || unit == "probability";
    table.push_back({metric, sparkline(values, share ? 0 : low, share ? 1 : high, room), shown(values.front()),
                     shown(values.back()), shown(none ? std::nullopt : std::optional(low)),
                     shown(none ? std::nullopt : std::optional(high))});
  }
  if (table.size() == 1) return "";
  const std::string text = aligned(table, {false, false, true, true, true, true});
  const std::size_t end = text.find('\n');
  return bold(text.substr(0, end), options.color) + text.substr(end);
}

std::string where(const SweepRow& row) { return row.step ? fmt::format("step {}", *row.step) : row.name; }

}  // namespace

std::string sparkline(const Values& values, double low, double high, std::size_t width) {
  static constexpr std::array<const char*, 8> bars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t shown = std::min(values.size(), std::max<std::size_t>(width, 1));
  std::string line;
  for (std::size_t i = 0; i < shown; ++i) {
    double sum = 0;
    std::size_t defined = 0;
    for (std::size_t at = i * values.size() / shown; at < (i + 1) * values.size() / shown; ++at)
      if (values[at]) sum += *values[at], ++defined;
    if (defined == 0) {
      line += "·";
      continue;
    }
    const double height = high > low ? (sum / static_cast<double>(defined) - low) / (high - low) : 0;
    line += bars[static_cast<std::size_t>(std::clamp(std::floor(height * 8), 0.0, 7.0))];
  }
  return line;
}

const SweepRow* stays_above(const SweepIndex& index, const std::string& metric, double value) {
  const SweepRow* since = nullptr;
  for (const SweepRow& row : index.rows) {
    const auto headlines = index.headlines.find(row.name);
    if (!row.report || headlines == index.headlines.end()) continue;
    const auto at = headlines->second.find(metric);
    const bool above = at != headlines->second.end() && at->second && *at->second > value;
    if (!above)
      since = nullptr;
    else if (since == nullptr)
      since = &row;
  }
  return since;
}

std::string render_summary(const SweepIndex& index, const SummaryOptions& options) {
  std::string text = counts_line(index);
  if (const std::string steps = steps_of(index); !steps.empty()) text += "; " + steps;
  text += "\n";
  if (const std::string table = metric_table(index, options); !table.empty()) text += "\n" + table;
  std::string levels;
  for (const auto& [metric, value] : options.stays_above) {
    const SweepRow* row = stays_above(index, metric, value);
    levels += index.units.contains(metric)
                  ? fmt::format("{} {} {}{}\n", metric, row != nullptr ? "stays above" : "does not stay above",
                                shown(value), row != nullptr ? " from " + where(*row) + " on" : "")
                  : fmt::format("{} was not measured\n", metric);
  }
  if (!levels.empty()) text += "\n" + levels;
  std::string amiss;
  for (const SweepRow& row : index.rows)
    if (row.message && (row.status != "done" || row.numerical_failure))
      amiss += yellow(fmt::format("{} {}", row.status, row.name), options.color) + ": " + *row.message + "\n";
  if (!amiss.empty()) text += "\n" + amiss;
  return text;
}

void write_csv(const SweepIndex& index, const SweepDirectory& directory, const std::string& file) {
  AtomicFile output = AtomicFile::open(file);
  output.write(render_csv({}));
  for (const SweepRow& row : index.rows) {
    if (!row.report) continue;
    auto report = directory.read_report(row.name);
    if (!report) continue;
    const std::string text = render_csv({{.path = "", .name = row.name, .json = std::move(*report)}});
    output.write(std::string_view(text).substr(text.find('\n') + 1));
  }
  output.commit();
}

}  // namespace sinkscope
