#pragma once
// check from operands to outcome; nothing is printed or written here but a new baseline.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "check/comparison.h"
#include "report/benchmark_json.h"

namespace sinkscope {

enum class IfNoBaseline { fail, pass, create };

struct CheckConfig {
  std::string fresh;                   ///< NEW: a report, - for stdin, or the directory of a sweep
  std::vector<std::string> baselines;  ///< OLD, of the same kind; empty only with expectations
  std::optional<std::string> rules;
  std::vector<std::string> tolerances, expectations;
  std::vector<Status> allowed;
  std::vector<Reason> ignored;
  IfNoBaseline if_no_baseline = IfNoBaseline::fail;
  bool update_baseline = false;
};

struct Outcome {
  std::string fresh;
  std::vector<std::string> baselines;  ///< those that were there
  std::string rules;                   ///< file; empty: none
  std::vector<Comparison> comparisons;
  std::vector<std::string> not_compared;  ///< metrics that no rule is about
  std::vector<std::string> notes;
  std::vector<Status> allowed;
  bool ok = true;                 ///< no finding but allowed ones
  nlohmann::ordered_json report;  ///< NEW where it is one report; null for a sweep
  Benchmarks benchmarks;          ///< of --benchmark-json
};

/// Reads, compares, judges. Throws UsageError for rules, tolerances and expectations that make no sense and InputError
/// for operands that cannot be read.
Outcome run_check(const CheckConfig& config);

/// A finding that no --allow excuses: it fails the gate.
bool fails(const Outcome& outcome, const Comparison& comparison);

}  // namespace sinkscope
