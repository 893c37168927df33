#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/nearest_name.h"
#include "check/rules.h"
#include "config/selection.h"

namespace sinkscope {
namespace {

bool overlap(Direction a, Direction b) { return a == b || a == Direction::change || b == Direction::change; }

/// Whether both would judge the same numbers, so that one of them has to give way.
bool compete(const Rule& a, const Rule& b) {
  return a.scope == b.scope && a.severity == b.severity && overlap(a.fail_on, b.fail_on);
}

}  // namespace

bool Rule::matches(const Quantity& quantity) const {
  const std::size_t dot = metric.find('.');
  if ((dot == std::string::npos) != quantity.series.empty()) return false;
  if (!glob_matches(metric.substr(0, dot), quantity.metric)) return false;
  return dot == std::string::npos || glob_matches(metric.substr(dot + 1), quantity.series);
}

Rule parse_tolerance(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError(fmt::format("--tolerance {}: expects METRIC=0.02 or METRIC=5%", text));
  Rule rule;
  rule.where = "--tolerance " + text;
  rule.metric = text.substr(0, equals);
  rule.tolerance = parse_allowance(text.substr(equals + 1), rule.where);
  return rule;
}

RuleSet::RuleSet(std::vector<Rule> rules, std::vector<Rule> tolerances)
    : rules_(std::move(rules)), tolerances_(std::move(tolerances)) {
  if (rules_.empty()) {
    Rule every;
    every.metric = "*";
    rules_.push_back(std::move(every));
  }
  used_.resize(rules_.size());
  tolerance_used_.resize(tolerances_.size());
}

bool RuleSet::overridden(std::size_t index, const Quantity& quantity) const {
  const Rule& rule = rules_[index];
  std::optional<std::size_t> rival;
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (i == index || !rules_[i].matches(quantity) || !compete(rule, rules_[i])) continue;
    if (rules_[i].is_exact() && !rule.is_exact()) return true;
    if (rules_[i].is_exact() == rule.is_exact()) rival = i;
  }
  if (rival)
    throw UsageError(
        fmt::format("{} and {}: both rules are about {} at scope {}. Keep one; a rule that names the metric comes "
                    "before a pattern.",
                    rules_[std::min(*rival, index)].where, rules_[std::max(*rival, index)].where, quantity.text(),
                    name_of(rule.scope)));
  return false;
}

std::vector<Selected> RuleSet::select(const std::vector<Quantity>& quantities,
                                      const std::function<bool(const Quantity&, Scope)>& available) {
  std::vector<Selected> selected;
  for (std::size_t i = 0; i < rules_.size(); ++i)
    for (const Quantity& quantity : quantities) {
      const Rule& rule = rules_[i];
      if (!rule.matches(quantity) || !available(quantity, rule.scope) || overridden(i, quantity)) continue;
      used_[i] = true;
      selected.push_back({&rule, quantity, rule.tolerance ? *rule.tolerance : default_allowance(quantity)});
    }
  for (const Quantity& quantity : quantities) {
    // The last one given holds, one that names the quantity before a pattern.
    std::optional<std::size_t> holds;
    for (std::size_t i = 0; i < tolerances_.size(); ++i) {
      if (!tolerances_[i].matches(quantity) || !available(quantity, Scope::model)) continue;
      tolerance_used_[i] = true;
      if (!holds || tolerances_[i].is_exact() || !tolerances_[*holds].is_exact()) holds = i;
    }
    if (!holds) continue;
    const Rule& tolerance = tolerances_[*holds];
    bool replaced = false;
    for (Selected& entry : selected)
      if (entry.quantity == quantity) {
        entry.allowance = *tolerance.tolerance;
        replaced = true;
      }
    if (!replaced) selected.push_back({&tolerance, quantity, *tolerance.tolerance});
  }
  for (const Quantity& quantity : quantities)
    if (std::find(seen_.begin(), seen_.end(), quantity.text()) == seen_.end()) seen_.push_back(quantity.text());
  return selected;
}

void RuleSet::refuse_useless() const {
  const auto refuse = [&](const Rule& rule) {
    throw UsageError(fmt::format(
        "{}: nothing in the reports is called {}{}{} Correct or remove it: a rule that matches nothing guards "
        "nothing.",
        rule.where, rule.metric, rule.scope == Scope::model ? "" : fmt::format(" at scope {}", name_of(rule.scope)),
        did_you_mean(rule.metric, seen_)));
  };
  for (std::size_t i = 0; i < rules_.size(); ++i)
    if (!used_[i]) {
      if (rules_[i].where.empty()) throw UsageError("the reports hold no metric, so there is nothing to compare");
      const auto covered = std::find_if(seen_.begin(), seen_.end(), [&](const std::string& name) {
        const std::size_t dot = name.find('.');
        return rules_[i].matches({name.substr(0, dot), dot == std::string::npos ? "" : name.substr(dot + 1)});
      });
      if (covered != seen_.end() && !rules_[i].is_exact())
        throw UsageError(
            fmt::format("{}: what {} matches has no values at scope {} or has a rule of its own. Remove it.",
                        rules_[i].where, rules_[i].metric, name_of(rules_[i].scope)));
      refuse(rules_[i]);
    }
  for (std::size_t i = 0; i < tolerances_.size(); ++i)
    if (!tolerance_used_[i]) refuse(tolerances_[i]);
}

}  // namespace sinkscope
