#pragma once
// The step summary of GitHub Actions.

#include "check/run_check.h"

namespace sinkscope {

/// Appends the outcome as Markdown to the file that GITHUB_STEP_SUMMARY names; does nothing where the variable is
/// unset. The whole file stays within 1 MiB, beyond which GitHub drops it. Throws UsageError if it cannot be written.
void append_summary(const Outcome& outcome);

}  // namespace sinkscope
