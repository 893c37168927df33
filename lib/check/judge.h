#pragma once
// One rule applied to one quantity.

#include <vector>

#include "check/compare.h"
#include "check/differences.h"

namespace sinkscope {

/// The comparisons of one quantity under one rule, all in `group`: one for each place of the rule's scope, one for
/// rejected samples where they are not part of that one, or a single one where the quantity cannot be compared as a
/// whole. `run` are the differences of the whole runs, `ignored` those of them and of the metric that do not matter.
std::vector<Comparison> judge(const Reports& reports, const Selected& selected, const std::vector<Difference>& run,
                              const std::vector<Reason>& ignored, std::size_t group);

}  // namespace sinkscope
