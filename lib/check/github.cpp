#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "check/escape.h"
#include "check/groups.h"
#include "check/render_check.h"
#include "check/tolerance.h"

namespace sinkscope {
namespace {

constexpr std::size_t kAnnotations = 10;  // GitHub shows no more of a kind for one step

/// Where the annotation points: the rule, else the baseline.
std::string location_of(const Outcome& outcome, const Comparison& c) {
  const std::size_t colon = c.rule.rfind(':');
  if (!outcome.rules.empty() && c.rule.starts_with(outcome.rules + ":"))
    return fmt::format("file={},line={},", command_property(c.rule.substr(0, colon)), c.rule.substr(colon + 1));
  if (outcome.baselines.empty() || outcome.baselines.front() == "-") return "";
  return fmt::format("file={},", command_property(outcome.baselines.front()));
}

/// The groups of one level, worst first, one annotation each; the last one that fits counts those that do not.
std::string annotations(const Outcome& outcome, const std::vector<const ComparisonGroup*>& groups, const char* level) {
  std::string text;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i + 1 == kAnnotations && groups.size() > kAnnotations)
      return text + fmt::format("::{} title=sinkscope check::{}\n", level,
                                command_data(fmt::format("and {} more; {}", groups.size() - i, verdict_of(outcome))));
    const Comparison& c = groups[i]->worst();
    std::string message = line_of(c);
    if (groups[i]->rows.size() > 1) message += fmt::format(" (the worst of {})", counts_of(groups[i]->rows));
    text += fmt::format("::{} {}title={}::{}\n", level, location_of(outcome, c),
                        command_property(fmt::format("{} {}", name_of(c.status), c.metric)), command_data(message));
  }
  return text;
}

std::string row_of(const Comparison& c, const std::string& mark) {
  const auto number = [](const std::optional<double>& value) { return value ? fmt::format("{:.4g}", *value) : ""; };
  const std::string place = c.expression.empty() ? place_of(c) : "expected " + c.expression;
  const std::string values = c.old_value && c.new_value
                                 ? fmt::format("{} | {}", told_apart(*c.old_value, *c.new_value).first,
                                               told_apart(*c.old_value, *c.new_value).second)
                                 : fmt::format("{} | {}", number(c.old_value), number(c.new_value));
  return fmt::format("| {}{} | {}{} | {} | {} | {} |\n", mark, name_of(c.status),
                     c.checkpoint.empty() ? "" : markdown_cell(c.checkpoint) + ": ", markdown_cell(place), values,
                     c.change ? fmt::format("{:+.3g}", *c.change) : markdown_cell(name_of(c.reason)),
                     c.tolerance ? fmt::format("{:.3g}", *c.tolerance) : "");
}

}  // namespace

std::string check_as_annotations(const Outcome& outcome) {
  const std::vector<ComparisonGroup> groups = groups_of(outcome);
  std::vector<const ComparisonGroup*> errors, warnings;
  for (const ComparisonGroup& group : groups) {
    if (group.fails) {
      errors.push_back(&group);
    } else if (group.worst().status != Status::pass && group.worst().status != Status::only_new) {
      warnings.push_back(&group);
    }
  }
  return annotations(outcome, errors, "error") + annotations(outcome, warnings, "warning");
}

std::string check_as_summary(const Outcome& outcome, std::size_t bytes) {
  std::string text = fmt::format("### sinkscope check: {}\n\n", markdown_cell(verdict_of(outcome)));
  text += markdown_cell(outcome.fresh);
  if (!outcome.baselines.empty())
    text += " against " + markdown_cell(fmt::format("{}", fmt::join(outcome.baselines, ", ")));
  text += "\n\n| status | what | old | new | change | tolerance |\n| --- | --- | ---: | ---: | ---: | ---: |\n";

  std::vector<ComparisonGroup> groups = groups_of(outcome);
  std::reverse(groups.begin(), groups.end());  // what fails comes first: the end may be cut
  std::vector<std::string> rows;
  for (const ComparisonGroup& group : groups) {
    for (std::size_t i = 0; i < group.shown(); ++i)
      rows.push_back(row_of(*group.rows[i], fails(outcome, *group.rows[i]) ? "❌ " : ""));
    if (const std::string rest = group.rest(); !rest.empty())
      rows.push_back(fmt::format("| | {}: {} | | | | |\n", markdown_cell(group.worst().metric), rest));
  }
  constexpr std::size_t kForTheRest = 100;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (text.size() + rows[i].size() + kForTheRest > bytes) {
      text += fmt::format("\n... and {} more rows\n", rows.size() - i);
      break;
    }
    text += rows[i];
  }
  return text.size() <= bytes ? text : "";
}

}  // namespace sinkscope
