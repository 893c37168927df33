#pragma once
// A small report whose numbers are round: two sites of two heads, four sequences.

#include <string>
#include <vector>

#include "catch.h"
#include "check/compare.h"
#include "files/temporary.h"
#include "report/fixed_report.h"

namespace sinkscope {

using Json = nlohmann::ordered_json;

/// sink_rate .5 with heads .2 .4 / .6 .8, loss 2, massive_activation 100 with the series ratio [stream] 10 20 30 and
/// top1 [stream].
inline Json small_report() {
  Json report = fixed_json();
  report["metrics"] = Json::parse(R"({
    "sink_rate": {"definition": "d", "definition_version": 1, "source": "s", "unit": "fraction",
      "parameters": {"epsilon": 0.3, "key": 0}, "value": 0.5, "ci95": [0.4, 0.6], "uniform": 0.0, "count": 16,
      "count_of": "sequence x site x head", "rejected": 0, "per_sequence": [0.25, 0.5, 0.5, 0.75],
      "per_site": [0.3, 0.7], "per_head": [[0.2, 0.4], [0.6, 0.8]],
      "series": {"by_epsilon": {"dims": ["epsilon"], "coords": {"epsilon": {"dims": ["epsilon"], "data": [0.1, 0.3]}},
                   "attrs": {"unit": "fraction"}, "data": [0.9, 0.5]},
                 "tail": {"dims": ["site", "head"], "attrs": {"unit": "fraction"}, "data": [[0.1, 0.3], [0.5, 0.7]]}}},
    "loss": {"definition": "d", "definition_version": 1, "source": "s", "unit": "nats", "parameters": {},
      "value": 2.0, "ci95": [1.5, 2.5], "uniform": null, "count": 4, "count_of": "sequence", "rejected": 0,
      "per_sequence": [1.0, 2.0, 2.0, 3.0]},
    "massive_activation": {"definition": "d", "definition_version": 1, "source": "s", "unit": "magnitude",
      "parameters": {}, "value": 100.0, "ci95": null, "uniform": null, "count": 3, "count_of": "stream", "rejected": 0,
      "series": {"ratio": {"dims": ["stream"], "attrs": {"unit": "ratio"}, "data": [10.0, 20.0, 30.0]}}}
  })");
  return report;
}

/// small_report() with other values at JSON pointers.
inline Json changed(const std::vector<std::pair<std::string, Json>>& changes) {
  Json report = small_report();
  for (const auto& [pointer, value] : changes) report[Json::json_pointer(pointer)] = value;
  return report;
}

/// Under the rules of a TOML text; empty: every headline with its default tolerance.
inline std::vector<Comparison> compared(const std::vector<Json>& olds, const Json& fresh, const std::string& rules = "",
                                        const std::vector<Reason>& ignored = {},
                                        const std::vector<std::string>& tolerances = {}) {
  std::vector<Rule> flags;
  for (const std::string& text : tolerances) flags.push_back(parse_tolerance(text));
  RuleSet set(rules.empty() ? std::vector<Rule>{} : read_rules(rules, "rules.toml"), flags);
  Reports reports{.checkpoint = "", .fresh = fresh, .baselines = {}};
  for (const Json& old : olds) reports.baselines.push_back(&old);
  auto found = compare(reports, set, ignored, 0).comparisons;
  set.refuse_useless();
  return found;
}

/// The only comparison of a rule.
inline Comparison only(const std::vector<Json>& olds, const Json& fresh, const std::string& rules,
                       const std::vector<Reason>& ignored = {}) {
  const auto found = compared(olds, fresh, rules, ignored);
  REQUIRE(found.size() == 1);
  return found.front();
}

/// The comparison of one head, or of one site where `head` is empty.
inline Comparison at(const std::vector<Comparison>& found, std::size_t site, std::optional<std::size_t> head = {}) {
  for (const Comparison& c : found)
    if (c.site == site && c.head == head) return c;
  FAIL("no comparison at site " << site);
  return {};
}

inline std::string rule(const std::string& keys) { return "[[rule]]\n" + keys + "\n"; }

}  // namespace sinkscope
