#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "check/groups.h"
#include "check/render_check.h"
#include "report/text.h"

namespace sinkscope {
namespace {

std::string colored(const std::string& status, const Outcome& outcome, const Comparison& c, bool color) {
  if (fails(outcome, c)) return bold(status, color);
  return c.status == Status::pass || c.status == Status::only_new ? dim(status, color) : yellow(status, color);
}

bool is_allowed(const Outcome& outcome, const Comparison& c) { return is_finding(c) && !fails(outcome, c); }

}  // namespace

std::string check_as_text(const Outcome& outcome, bool color) {
  std::string text = outcome.fresh == "-" ? "stdin" : outcome.fresh;
  if (!outcome.baselines.empty()) text += fmt::format(" against {}", fmt::join(outcome.baselines, ", "));
  if (!outcome.rules.empty()) text += fmt::format(", rules {}", outcome.rules);
  text += "\n\n";

  std::size_t width = 0;
  for (const Comparison& c : outcome.comparisons) width = std::max(width, std::string(name_of(c.status)).size());
  for (const ComparisonGroup& group : groups_of(outcome)) {
    for (std::size_t i = 0; i < group.shown(); ++i) {
      const Comparison& c = *group.rows[i];
      text += fmt::format("{} {}{}\n", colored(fmt::format("{:<{}}", name_of(c.status), width), outcome, c, color),
                          line_of(c), is_allowed(outcome, c) ? " (allowed)" : "");
    }
    if (const std::string rest = group.rest(); !rest.empty())
      text += fmt::format("{:{}} ... and {} at scope {}\n", "", width, rest, name_of(group.worst().scope));
  }
  text += "\n";
  if (!outcome.not_compared.empty())
    text += fmt::format("not compared, without a rule or a sample: {}\n", fmt::join(outcome.not_compared, ", "));
  for (const std::string& note : outcome.notes) text += fmt::format("note: {}\n", note);
  return text + bold(verdict_of(outcome), color) + "\n";
}

}  // namespace sinkscope
