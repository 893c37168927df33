#pragma once
// What `check` compares, and how far it may move: rules of a file, --tolerance, or every headline.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "check/comparison.h"
#include "check/tolerance.h"
#include "check/values.h"

namespace sinkscope {

enum class Direction { change, increase, decrease };

struct Rule {
  std::string metric;  ///< NAME[.SERIES], a shell pattern in each part; without a dot only headlines
  Scope scope = Scope::model;
  Direction fail_on = Direction::change;
  std::optional<Allowance> tolerance;  ///< empty: the metric's default
  Severity severity = Severity::fail;
  double allow_fraction = 0;  ///< share of the heads (at site scope: sites) of one metric that may exceed the tolerance
  bool noise_of_sequences = false;  ///< noise = "sequences"
  std::string where;                ///< "rules.toml:3", "--tolerance loss=5%"; empty: the implied rule

  /// Whether it names one quantity, without a pattern.
  bool is_exact() const { return metric.find_first_of("*?[") == std::string::npos; }
  bool matches(const Quantity& quantity) const;
};

/// The [[rule]] tables of a TOML file; `name` is for messages. Throws UsageError with file and line: bad TOML, an
/// unknown key (with the nearest), a value of the wrong type or out of range, keys that do not go together, no rule at
/// all.
std::vector<Rule> read_rules(std::string_view text, const std::string& name);

/// "METRIC=0.02", "METRIC.SERIES=5%". Throws UsageError.
Rule parse_tolerance(const std::string& text);

/// One quantity to compare under one rule.
struct Selected {
  const Rule* rule = nullptr;
  Quantity quantity;
  Allowance allowance;
};

/// Which rule holds for what. A rule that names a quantity comes before a pattern that covers it; two rules of one kind
/// for the same quantity, scope and severity whose directions overlap contradict each other. --tolerance replaces the
/// tolerance of what a rule compares, and adds what none does.
class RuleSet {
 public:
  /// `rules` empty: every headline, with its default tolerance.
  RuleSet(std::vector<Rule> rules, std::vector<Rule> tolerances);

  /// Of the quantities of one comparison, in the order of the rules. `available` says whether a report has the quantity
  /// at that scope. Throws UsageError for contradicting rules.
  std::vector<Selected> select(const std::vector<Quantity>& quantities,
                               const std::function<bool(const Quantity&, Scope)>& available);

  /// Throws UsageError that names each rule and --tolerance that has matched nothing so far.
  void refuse_useless() const;

 private:
  bool overridden(std::size_t index, const Quantity& quantity) const;

  std::vector<Rule> rules_, tolerances_;
  std::vector<bool> used_, tolerance_used_;
  std::vector<std::string> seen_;  ///< names of all quantities, for messages
};

}  // namespace sinkscope
