#pragma once
// Several reports in one table.

#include <string>
#include <vector>

#include "report/render.h"

namespace sinkscope {

struct Overview {
  std::vector<std::vector<std::string>>
      table;  ///< header, then one row a report: name, headline of every metric ("-": undefined or not measured)
};

/// Metrics in the order in which the reports bring them; `options.metrics` restricts them. With `options.sort` the
/// largest value comes first and reports without one last; else the order is kept. Throws UsageError for a metric that
/// no report holds.
Overview overview_of(const std::vector<SavedReport>& reports, const TableOptions& options);

}  // namespace sinkscope
