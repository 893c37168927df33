#include "sweep/sweep_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "base/print.h"
#include "base/terminal.h"
#include "report/report.h"
#include "sweep/summary.h"

namespace sinkscope {

void print_sweep(const SweepConfig& config, const SweepIndex& index) {
  end_quietly_on_closed_pipe();
  if (config.csv) write_csv(index, SweepDirectory(config.directory), *config.csv);
  if (config.csv == "-") return;
  SummaryOptions options;
  options.width = static_cast<std::size_t>(std::max(terminal_width(Output::out), 1));
  options.color = use_color(Output::out, config.settings.color);
  options.stays_above = config.stays_above;
  print(config.json ? dump(to_json(index)) : render_summary(index, options));
}

Exit conclude(const SweepConfig& config, const SweepIndex& index, const SweepPlan* plan) {
  std::set<std::string> own;
  if (plan != nullptr && plan->shard.count > 1) {
    const std::int64_t total = std::ssize(plan->checkpoints);
    for (std::int64_t i = plan->shard.begin(total); i < plan->shard.end(total); ++i)
      own.insert(plan->checkpoints[static_cast<std::size_t>(i)].name);
  }
  std::map<std::string, std::size_t> open;
  bool numerical = false;
  std::size_t rows = 0;
  for (const SweepRow& row : index.rows) {
    if (plan != nullptr && plan->shard.count > 1 && !own.contains(row.name)) continue;
    ++rows;
    if (row.status == "failed" || row.status == "pending" || (row.status == "missing" && row.expected))
      ++open[row.status];
    numerical |= row.numerical_failure;
  }
  std::string parts;
  for (const auto& [status, count] : open) parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", count, status);
  if (!open.empty()) {
    const std::string message =
        fmt::format("the sweep in {} is not complete: {} of {} checkpoints; {} says why", config.directory, parts, rows,
                    SweepDirectory(config.directory).index_path());
    std::fprintf(stderr, "sinkscope: error: %s.\n", message.c_str());
    return Exit::partial_sweep;
  }
  if (!numerical) return Exit::ok;
  std::fprintf(stderr,
               "sinkscope: error: a NaN, an Inf or rows that do not have the sum they should were found; the values "
               "they touch are null and counted under `rejected`. The reports are written.\n");
  return Exit::numerical;
}

}  // namespace sinkscope
