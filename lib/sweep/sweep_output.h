#pragma once
// What a sweep says at its end: on stdout the result, on stderr what went wrong.

#include "base/error.h"
#include "sweep/sweep_checkpoints.h"

namespace sinkscope {

/// Prints the summary, or sweep.json with --json, and writes --csv. Throws UsageError where that cannot be written.
void print_sweep(const SweepConfig& config, const SweepIndex& index);

/// The exit code of a sweep that was not interrupted, with one message on stderr unless it is 0: 6 where a checkpoint
/// failed, is pending or a step of --expect-steps is missing, 5 where values were rejected. A shard (`plan`, not for
/// merging) answers for its own checkpoints only.
Exit conclude(const SweepConfig& config, const SweepIndex& index, const SweepPlan* plan = nullptr);

}  // namespace sinkscope
