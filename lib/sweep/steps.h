#pragma once
// Which steps there should be.

#include <cstdint>
#include <string>
#include <vector>

#include "sweep/sweep_checkpoint.h"

namespace sinkscope {

/// The steps of "0,1,2,4,1000:143000:1000" (ranges first:last:step, last included), ascending and once each. Throws
/// UsageError.
std::vector<std::int64_t> parse_steps(const std::string& text);

struct MissingStep {
  std::string name;  ///< encoded, after its neighbours; step600 where they have no step in their names
  std::int64_t step = 0;
  std::string message;
};

/// The steps that a series of checkpoints lacks. With `expected`, those of it; else the holes in a regular series: most
/// neighbouring steps (at least three pairs) are equally far apart and a hole is a whole number of such distances.
/// Checkpoints of different folders or stages are series of their own.
std::vector<MissingStep> missing_steps(const std::vector<SweepCheckpoint>& checkpoints,
                                       const std::vector<std::int64_t>& expected);

}  // namespace sinkscope
