#pragma once
// An outcome of `check` as text, JSON, JUnit XML and for GitHub. Pure functions: nothing is printed here.

#include <nlohmann/json.hpp>
#include <string>

#include "check/run_check.h"

namespace sinkscope {

/// For people: a line a comparison, what passes first, the verdict last.
std::string check_as_text(const Outcome& outcome, bool color);

/// {"schema_version", "kind": "check", "ok", "summary", ..., "comparisons": [...]}: every comparison (docs/check.md).
nlohmann::ordered_json check_as_json(const Outcome& outcome);

/// JUnit XML as junit-10.xsd of Jenkins' xunit plugin wants it: a suite for each checkpoint, a case for each comparison
/// at model and site scope, one case for all heads of a rule. INCOMPARABLE is an error, other findings are failures;
/// what does not fail the gate is no failure here either.
std::string check_as_junit(const Outcome& outcome);

/// GitHub workflow commands, at most ten errors and ten warnings, as GitHub shows no more of a step.
std::string check_as_annotations(const Outcome& outcome);

/// Markdown for GITHUB_STEP_SUMMARY, not longer than `bytes`; rows that do not fit are counted.
std::string check_as_summary(const Outcome& outcome, std::size_t bytes);

}  // namespace sinkscope
