#include "check/run_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "check/compare.h"
#include "check/differences.h"
#include "check/expectation.h"
#include "files/mapped_file.h"
#include "report/read_report.h"
#include "report/read_sweep.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

Json read_one(const std::string& path) { return std::move(read_reports({path}).front().json); }

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return a != "-" && b != "-" && fs::equivalent(a, b, error) && !error;
}

/// The baselines that are there; InputError for one that is not, unless --if-no-baseline or --update-baseline says what
/// then.
std::vector<std::string> present_baselines(const CheckConfig& config) {
  std::vector<std::string> present;
  for (const std::string& path : config.baselines) {
    std::error_code error;
    if (path == "-" || fs::exists(path, error)) {
      present.push_back(path);
    } else if (config.if_no_baseline == IfNoBaseline::fail && !config.update_baseline) {
      throw InputError(
          fmt::format("{}: the baseline does not exist. --if-no-baseline create makes it from NEW, --if-no-baseline "
                      "pass lets it be.",
                      path));
    }
  }
  return present;
}

void check_kinds(const CheckConfig& config, const std::vector<std::string>& baselines) {
  const bool sweep = is_directory(config.fresh);
  std::size_t from_stdin = config.fresh == "-";
  for (const std::string& path : baselines) {
    from_stdin += path == "-";
    if (is_directory(path) != sweep)
      throw UsageError(
          fmt::format("{} and {}: a report and the folder of a sweep cannot be compared", config.fresh, path));
  }
  if (from_stdin > 1) throw UsageError("check: only one operand can be - (stdin)");
}

/// The comparisons of one run: numbers of groups go on from pair to pair.
class Run {
 public:
  Run(const CheckConfig& config, Outcome& outcome) : config_(config), outcome_(outcome), rules_(make_rules(config)) {
    for (const std::string& text : config.expectations) expectations_.push_back(parse_expectation(text));
  }

  void pair(const std::string& checkpoint, Json fresh, const std::vector<Json>& baselines) {
    if (!config_.baselines.empty()) {
      Reports reports{.checkpoint = checkpoint, .fresh = fresh, .baselines = {}};
      for (const Json& old : baselines) reports.baselines.push_back(&old);
      Compared compared = compare(reports, rules_, config_.ignored, group_);
      for (Comparison& c : compared.comparisons) add(std::move(c));
      for (std::string& name : compared.not_compared)
        if (std::find(outcome_.not_compared.begin(), outcome_.not_compared.end(), name) == outcome_.not_compared.end())
          outcome_.not_compared.push_back(std::move(name));
      for (const Json& old : baselines) note(checkpoint, old, fresh);
      compared_ = true;
    }
    const bool ignore_incomplete =
        std::find(config_.ignored.begin(), config_.ignored.end(), Reason::complete) != config_.ignored.end();
    for (const Expectation& expectation : expectations_) {
      Comparison c = judge(expectation, fresh, ignore_incomplete);
      c.checkpoint = checkpoint;
      c.group = group_;
      add(std::move(c));
    }
    add_benchmarks(outcome_.benchmarks, fresh, checkpoint);
    if (checkpoint.empty()) outcome_.report = std::move(fresh);
  }

  /// A checkpoint that cannot be compared as a whole.
  void whole(const std::string& checkpoint, Status status, Reason reason, const std::string& words) {
    Comparison c;
    c.checkpoint = checkpoint;
    c.metric = "*";
    c.status = status;
    c.reason = reason;
    c.message = words;
    c.group = group_;
    add(std::move(c));
  }

  void finish() {
    if (compared_) rules_.refuse_useless();
    if (outcome_.comparisons.empty())
      throw UsageError("check: there is nothing to compare; a gate over nothing passes unseen");
    outcome_.ok = std::none_of(outcome_.comparisons.begin(), outcome_.comparisons.end(),
                               [&](const Comparison& c) { return fails(outcome_, c); });
  }

 private:
  static RuleSet make_rules(const CheckConfig& config) {
    std::vector<Rule> tolerances;
    for (const std::string& text : config.tolerances) tolerances.push_back(parse_tolerance(text));
    return {config.rules ? read_rules(read_text(*config.rules), *config.rules) : std::vector<Rule>{},
            std::move(tolerances)};
  }

  void add(Comparison c) {
    group_ = std::max(group_, c.group + 1);
    outcome_.comparisons.push_back(std::move(c));
  }

  void note(const std::string& checkpoint, const Json& old, const Json& fresh) {
    for (const std::string& text : remarks(old, fresh)) {
      const std::string whole = checkpoint.empty() ? text : fmt::format("{}: {}", checkpoint, text);
      if (std::find(outcome_.notes.begin(), outcome_.notes.end(), whole) == outcome_.notes.end())
        outcome_.notes.push_back(whole);
    }
  }

  const CheckConfig& config_;
  Outcome& outcome_;
  RuleSet rules_;
  std::vector<Expectation> expectations_;
  std::size_t group_ = 0;
  bool compared_ = false;
};

void check_sweeps(const CheckConfig& config, const std::vector<std::string>& baselines, Run& run) {
  std::vector<std::vector<SweepEntry>> old_sweeps;
  for (const std::string& path : baselines) old_sweeps.push_back(read_sweep(path));
  const std::vector<SweepEntry> entries = read_sweep(config.fresh);
  const auto find = [](const std::vector<SweepEntry>& sweep, const std::string& name) -> const SweepEntry* {
    const auto at = std::find_if(sweep.begin(), sweep.end(), [&](const SweepEntry& e) { return e.name == name; });
    return at != sweep.end() ? &*at : nullptr;
  };
  std::set<std::string> names;
  for (const SweepEntry& entry : entries) {
    names.insert(entry.name);
    std::vector<Json> olds;
    for (const auto& sweep : old_sweeps)
      if (const SweepEntry* old = find(sweep, entry.name); old != nullptr && !old->report.empty())
        olds.push_back(read_one(old->report));
    if (!entry.report.empty()) {
      run.pair(entry.name, read_one(entry.report), olds);
    } else if (!olds.empty()) {
      run.whole(entry.name, Status::missing, Reason::only_in_old,
                fmt::format("the checkpoint has a report only in OLD; in NEW it is {}", entry.problem));
    } else {
      run.whole(entry.name, Status::warn, Reason::null_in_both,
                fmt::format("the checkpoint has no report; in NEW it is {}", entry.problem));
    }
  }
  for (const auto& sweep : old_sweeps)
    for (const SweepEntry& old : sweep)
      if (names.insert(old.name).second)
        run.whole(old.name, Status::missing, Reason::only_in_old, "the checkpoint is only in OLD");
}

}  // namespace

bool fails(const Outcome& outcome, const Comparison& comparison) {
  return is_finding(comparison) &&
         std::find(outcome.allowed.begin(), outcome.allowed.end(), comparison.status) == outcome.allowed.end();
}

Outcome run_check(const CheckConfig& config) {
  Outcome outcome;
  outcome.fresh = config.fresh;
  outcome.rules = config.rules.value_or("");
  outcome.allowed = config.allowed;
  Run run(config, outcome);
  outcome.baselines = present_baselines(config);
  check_kinds(config, outcome.baselines);
  for (const std::string& path : outcome.baselines)
    if (same_file(config.fresh, path)) outcome.notes.push_back(fmt::format("NEW and OLD are the same: {}", path));
  if (is_directory(config.fresh)) {
    check_sweeps(config, outcome.baselines, run);
  } else {
    std::vector<Json> olds;
    for (const std::string& path : outcome.baselines) olds.push_back(read_one(path));
    run.pair("", read_one(config.fresh), olds);
  }
  run.finish();
  return outcome;
}

}  // namespace sinkscope
