#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "check/escape.h"
#include "check/groups.h"
#include "check/render_check.h"

namespace sinkscope {
namespace {

struct Case {
  std::string name, message, body;
  Status status{};
  bool fails = false;
};

struct Suite {
  std::string name;
  std::vector<Case> cases;
};

/// Rules may judge one place twice, and GitLab wants names that differ: the second and later ones get a number.
std::string unique(std::map<std::string, int>& taken, const std::string& name) {
  const int count = ++taken[name];
  return count == 1 ? name : fmt::format("{} ({})", name, count);
}

std::string name_of_case(const Comparison& c) {
  if (!c.expression.empty()) return "expected " + c.expression;
  return c.metric == "*" ? "checkpoint" : place_of(c);
}

Case one(const Outcome& outcome, const Comparison& c) {
  return {.name = name_of_case(c), .message = c.message, .body = "", .status = c.status, .fails = fails(outcome, c)};
}

/// All heads of one rule: a model has too many for a case each.
Case summed_up(const Outcome& outcome, const ComparisonGroup& group) {
  Case result = one(outcome, group.worst());
  result.name = fmt::format("{}, all {}s", group.worst().metric, group.worst().kv_head ? "KV head" : "head");
  result.fails = group.fails;
  for (std::size_t i = 0; i < group.shown(); ++i)
    result.body += fmt::format("{} {}\n", name_of(group.rows[i]->status), group.rows[i]->message);
  if (const std::string rest = group.rest(); !rest.empty()) result.body += fmt::format("... and {}\n", rest);
  return result;
}

std::vector<Suite> suites_of(const Outcome& outcome) {
  std::vector<Suite> suites;
  std::map<std::string, std::map<std::string, int>> taken;
  const auto suite_of = [&](const std::string& checkpoint) -> Suite& {
    for (Suite& suite : suites)
      if (suite.name == checkpoint) return suite;
    suites.push_back({checkpoint, {}});
    return suites.back();
  };
  for (const ComparisonGroup& group : groups_of(outcome)) {
    const std::string& checkpoint = group.worst().checkpoint;
    const auto add = [&](Case entry) {
      entry.name = unique(taken[checkpoint], entry.name);
      suite_of(checkpoint).cases.push_back(std::move(entry));
    };
    if (group.shown() < group.rows.size() || (group.worst().scope == Scope::head && group.worst().expression.empty())) {
      add(summed_up(outcome, group));
    } else {
      for (const Comparison* c : group.rows) add(one(outcome, *c));
    }
  }
  return suites;
}

std::string to_xml(const Case& entry, const std::string& classname) {
  std::string text =
      fmt::format("    <testcase classname=\"{}\" name=\"{}\"", xml_escaped(classname), xml_escaped(entry.name));
  if (entry.fails) {
    const char* element = entry.status == Status::incomparable ? "error" : "failure";
    return text + fmt::format(">\n      <{0} type=\"{1}\" message=\"{2}\">{3}</{0}>\n    </testcase>\n", element,
                              name_of(entry.status), xml_escaped(entry.message),
                              xml_escaped(entry.body.empty() ? entry.message : entry.body));
  }
  return text + fmt::format(">\n      <system-out>{} {}</system-out>\n    </testcase>\n", name_of(entry.status),
                            xml_escaped(entry.message));
}

}  // namespace

std::string check_as_junit(const Outcome& outcome) {
  std::string text, inner;
  std::size_t tests = 0, failures = 0, errors = 0;
  for (const Suite& suite : suites_of(outcome)) {
    std::size_t suite_failures = 0, suite_errors = 0;
    const std::string name = suite.name.empty() ? "sinkscope check" : "sinkscope check " + suite.name;
    const std::string classname = suite.name.empty() ? "sinkscope.check" : "sinkscope.check." + suite.name;
    std::string cases;
    for (const Case& entry : suite.cases) {
      const bool error = entry.fails && entry.status == Status::incomparable;
      suite_errors += error;
      suite_failures += entry.fails && !error;
      cases += to_xml(entry, classname);
    }
    inner += fmt::format("  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n{}  </testsuite>\n",
                         xml_escaped(name), suite.cases.size(), suite_failures, suite_errors, cases);
    tests += suite.cases.size();
    failures += suite_failures;
    errors += suite_errors;
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<testsuites name=\"sinkscope check\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n{}</testsuites>\n",
      tests, failures, errors, inner);
}

}  // namespace sinkscope
