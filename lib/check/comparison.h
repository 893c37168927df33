#pragma once
// One comparison of `check` and what came of it, as plain values; docs/check.md explains the words.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace sinkscope {

enum class Status { pass, warn, fail, only_new, missing, incomparable, ambiguous };
enum class Severity { fail, warn };
enum class Scope { model, site, head };

/// Why a comparison has its status.
enum class Reason {
  // PASS
  within_tolerance,
  other_direction,   ///< beyond the tolerance, but not in the direction that fails
  allowed_fraction,  ///< beyond the tolerance, but no more heads (sites) than `allow_fraction` allows
  expectation_met,
  // FAIL; WARN where the rule's severity says so
  exceeds_tolerance,
  expectation_failed,
  null_in_new,
  null_in_old,
  rejected,  ///< samples without a value: NaN or a wrong row sum. WARN where OLD has as many.
  // WARN
  null_in_both,
  // AMBIGUOUS
  within_noise,
  // NEW, MISSING
  only_in_new,
  only_in_old,
  // INCOMPARABLE
  definition,
  parameters,
  input,
  tokenizer,
  dtype,
  sites,
  heads,
  complete
};

const char* name_of(Status status);      ///< "PASS", ..., "NEW"
const char* name_of(Severity severity);  ///< "fail", "warn"
const char* name_of(Scope scope);        ///< "model", "site", "head"
const char* name_of(Reason reason);      ///< "within_tolerance", ...

/// All statuses, in the order of the enumeration.
const std::vector<Status>& all_statuses();

/// The differences that make two reports incomparable, and that --ignore-difference takes.
const std::vector<Reason>& all_differences();

struct Comparison {
  std::string checkpoint;  ///< of a sweep; else empty
  std::string metric;      ///< NAME or NAME.SERIES
  Scope scope = Scope::model;
  std::optional<std::size_t> site, head;
  bool kv_head = false;    ///< `head` counts KV heads
  std::string site_path;   ///< in NEW, else in OLD
  std::string coordinate;  ///< of an element of a series: "stream 3", "epsilon 0.3"
  std::optional<double> old_value, new_value;
  std::optional<double> change;                   ///< new - old
  std::optional<double> tolerance;                ///< as a size of `change`
  std::optional<std::array<double, 2>> interval;  ///< paired bootstrap interval of the change
  Status status = Status::pass;
  Severity severity = Severity::fail;
  Reason reason = Reason::within_tolerance;
  std::vector<Reason> ignored;  ///< differences that --ignore-difference passed over
  std::string expression;       ///< of --expect
  std::string rule;             ///< where the rule stands, "rules.toml:3"; empty: the default
  std::string message;          ///< metric, place, old, new, change, tolerance; without the status
  std::size_t group = 0;        ///< comparisons of one rule, quantity and checkpoint share it
};

/// Whether the status by itself is a finding (FAIL, MISSING, INCOMPARABLE, AMBIGUOUS) of a rule that may fail.
bool is_finding(const Comparison& comparison);

/// "sink_rate, site 2 (m.layers.2.attn), head 3": what is compared, without the checkpoint.
std::string place_of(const Comparison& comparison);

/// |change| in units of tolerance: infinite for a change where none is allowed, 0 without a change.
double units_of_tolerance(const Comparison& comparison);

}  // namespace sinkscope
