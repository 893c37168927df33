#pragma once
// Comparisons as people read them: by rule, metric and checkpoint, the worst ones first.

#include <string>
#include <vector>

#include "check/run_check.h"

namespace sinkscope {

struct ComparisonGroup {
  std::vector<const Comparison*> rows;  ///< failing ones first, then by change in units of tolerance; never empty
  bool fails = false;                   ///< one of them fails the gate

  const Comparison& worst() const { return *rows.front(); }
  /// How many rows to show one by one: all, or the worst five where there is one for each head or coordinate.
  std::size_t shown() const;
  /// "59 more: 57 PASS, 2 FAIL"; empty where all are shown.
  std::string rest() const;
};

/// What passes comes first and what fails last, as on a terminal the last lines are read first.
std::vector<ComparisonGroup> groups_of(const Outcome& outcome);

/// "57 PASS, 2 FAIL", in the order of the statuses.
std::string counts_of(const std::vector<const Comparison*>& rows);

/// The checkpoint, where there is one, and the message: "step1400: loss: 1.7 -> 1.8, ...".
std::string line_of(const Comparison& comparison);

/// "FAIL: 2 of 14 comparisons fail: 12 PASS, 2 FAIL", or "ok: ...".
std::string verdict_of(const Outcome& outcome);

}  // namespace sinkscope
