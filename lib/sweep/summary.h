#pragma once
// A sweep as text: the summary on the terminal, and the long-form table.

#include <string>
#include <utility>
#include <vector>

#include "sweep/sweep_index.h"

namespace sinkscope {

struct SummaryOptions {
  std::size_t width = 80;  ///< columns of the terminal
  bool color = false;
  std::vector<std::pair<std::string, double>> stays_above;  ///< metric and value
};

/// One character a value, from the lowest bar (`low`) to the highest (`high`), a dot for an empty one. More values than
/// `width` share characters, which then show the mean of their values.
std::string sparkline(const std::vector<std::optional<double>>& values, double low, double high, std::size_t width);

/// The row from which on `metric` is above `value` in every later checkpoint that has a report; null where it is not
/// above at the last one, or nothing was measured. A value that is null is not above.
const SweepRow* stays_above(const SweepIndex& index, const std::string& metric, double value);

/// Counts, one line a metric (sparkline, first, last, lowest and highest value), what stays above what, and what is
/// amiss.
std::string render_summary(const SweepIndex& index, const SummaryOptions& options);

/// Writes the reports of the sweep in the order of the index as one table with the columns of render_csv(); `file` as
/// in --csv. One report at a time is in memory. Throws UsageError if it cannot be written.
void write_csv(const SweepIndex& index, const SweepDirectory& directory, const std::string& file);

}  // namespace sinkscope
