#include "check/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace sinkscope {
namespace {

constexpr std::size_t kShown = 5;

/// 0: fails, 1: WARN and what was allowed or may not fail, 2: NEW, 3: PASS.
int rank_of(const Outcome& outcome, const Comparison& c) {
  if (fails(outcome, c)) return 0;
  if (c.status == Status::pass) return 3;
  return c.status == Status::only_new ? 2 : 1;
}

}  // namespace

std::size_t ComparisonGroup::shown() const {
  const bool long_list = worst().scope == Scope::head || (worst().scope == Scope::model && !worst().coordinate.empty());
  return long_list ? std::min(kShown, rows.size()) : rows.size();
}

std::string ComparisonGroup::rest() const {
  if (shown() == rows.size()) return "";
  return fmt::format("{} more: {}", rows.size() - shown(),
                     counts_of({rows.begin() + static_cast<std::ptrdiff_t>(shown()), rows.end()}));
}

std::vector<ComparisonGroup> groups_of(const Outcome& outcome) {
  std::map<std::size_t, ComparisonGroup> by_number;
  for (const Comparison& c : outcome.comparisons) {
    ComparisonGroup& group = by_number[c.group];
    group.rows.push_back(&c);
    group.fails |= fails(outcome, c);
  }
  std::vector<ComparisonGroup> groups;
  for (auto& [number, group] : by_number) {
    std::stable_sort(group.rows.begin(), group.rows.end(), [&](const Comparison* a, const Comparison* b) {
      const int rank_a = rank_of(outcome, *a), rank_b = rank_of(outcome, *b);
      if (rank_a != rank_b) return rank_a < rank_b;
      return units_of_tolerance(*a) > units_of_tolerance(*b);
    });
    groups.push_back(std::move(group));
  }
  std::stable_sort(groups.begin(), groups.end(), [&](const ComparisonGroup& a, const ComparisonGroup& b) {
    return rank_of(outcome, a.worst()) > rank_of(outcome, b.worst());
  });
  return groups;
}

std::string counts_of(const std::vector<const Comparison*>& rows) {
  std::string text;
  for (const Status status : all_statuses())
    if (const auto count =
            std::count_if(rows.begin(), rows.end(), [&](const Comparison* c) { return c->status == status; });
        count > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name_of(status));
  return text;
}

std::string line_of(const Comparison& c) { return c.checkpoint.empty() ? c.message : c.checkpoint + ": " + c.message; }

std::string verdict_of(const Outcome& outcome) {
  std::vector<const Comparison*> all;
  for (const Comparison& c : outcome.comparisons) all.push_back(&c);
  const auto failing = std::count_if(all.begin(), all.end(), [&](const Comparison* c) { return fails(outcome, *c); });
  const char* comparisons = all.size() == 1 ? "comparison" : "comparisons";
  if (failing == 0) return fmt::format("ok: {} {}: {}", all.size(), comparisons, counts_of(all));
  return fmt::format("FAIL: {} of {} {}: {}", failing, all.size(), comparisons, counts_of(all));
}

}  // namespace sinkscope
