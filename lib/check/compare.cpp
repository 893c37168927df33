#include "check/compare.h"

#include <algorithm>

#include "check/differences.h"
#include "check/judge.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

std::vector<Quantity> all_quantities(const Reports& reports) {
  std::vector<Quantity> all;
  std::vector<const Json*> each = reports.baselines;
  each.insert(each.begin(), &reports.fresh);
  for (const Json* report : each)
    for (Quantity& quantity : quantities_of(*report))
      if (std::find(all.begin(), all.end(), quantity) == all.end()) all.push_back(std::move(quantity));
  return all;
}

/// Whether no report has a sample of the metric, valid or rejected: learned sinks of a model without any.
bool applies_nowhere(const Reports& reports, const std::string& metric) {
  const auto has_sample = [&](const Json& report) {
    const auto at = report["metrics"].find(metric);
    return at != report["metrics"].end() && !(at->value("count", Json()) == 0 && at->value("rejected", Json()) == 0);
  };
  return !has_sample(reports.fresh) && std::none_of(reports.baselines.begin(), reports.baselines.end(),
                                                    [&](const Json* report) { return has_sample(*report); });
}

}  // namespace

Compared compare(const Reports& reports, RuleSet& rules, const std::vector<Reason>& ignored, std::size_t first_group) {
  const std::vector<Quantity> quantities = all_quantities(reports);
  const auto available = [&](const Quantity& quantity, Scope scope) {
    const auto has = [&](const Json* report) { return !elements_of(*report, quantity, scope).empty(); };
    return has(&reports.fresh) || std::any_of(reports.baselines.begin(), reports.baselines.end(), has);
  };
  std::vector<Difference> run;
  for (const Json* old : reports.baselines)
    for (Difference& d : run_differences(*old, reports.fresh))
      if (std::none_of(run.begin(), run.end(), [&](const Difference& other) { return other.words == d.words; }))
        run.push_back(std::move(d));

  Compared compared;
  std::vector<std::string> covered;
  for (const Selected& selected : rules.select(quantities, available)) {
    // Who wrote a rule for it wants to hear of it; the implied rule is about what can be compared.
    if (selected.rule->where.empty() && applies_nowhere(reports, selected.quantity.metric)) continue;
    for (Comparison& comparison : judge(reports, selected, run, ignored, first_group++))
      compared.comparisons.push_back(std::move(comparison));
    covered.push_back(selected.quantity.metric);
  }
  for (const Quantity& quantity : quantities)
    if (quantity.series.empty() && std::find(covered.begin(), covered.end(), quantity.metric) == covered.end())
      compared.not_compared.push_back(quantity.metric);
  return compared;
}

}  // namespace sinkscope
