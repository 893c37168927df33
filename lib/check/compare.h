#pragma once
// Two reports, or one and several baselines, under rules.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "check/comparison.h"
#include "check/rules.h"

namespace sinkscope {

/// What is compared with what. The old value is the mean of the baselines' and a tolerance is at least their spread,
/// the largest minus the smallest.
struct Reports {
  std::string checkpoint;                                ///< of a sweep; else empty
  const nlohmann::ordered_json& fresh;                   ///< NEW
  std::vector<const nlohmann::ordered_json*> baselines;  ///< OLD; empty: everything is NEW
};

struct Compared {
  std::vector<Comparison> comparisons;
  std::vector<std::string> not_compared;  ///< metrics that no rule is about
};

/// Compares everything that `rules` select, and never leaves out what cannot be compared. `ignored` are differences
/// that make nothing incomparable. Groups are numbered from `first_group` on.
Compared compare(const Reports& reports, RuleSet& rules, const std::vector<Reason>& ignored, std::size_t first_group);

/// The 95 % bootstrap interval of the mean difference new - old, sequence by sequence; sequences without a value in one
/// of both take no part. Empty for fewer than two, and where the numbers of sequences differ.
std::optional<std::array<double, 2>> paired_interval(const std::vector<std::optional<double>>& old_values,
                                                     const std::vector<std::optional<double>>& new_values);

/// paired_interval() of a headline from the `per_sequence` of the reports; of several baselines from their mean,
/// sequence by sequence.
std::optional<std::array<double, 2>> change_interval(const std::vector<const nlohmann::ordered_json*>& baselines,
                                                     const nlohmann::ordered_json& fresh, const std::string& metric);

}  // namespace sinkscope
