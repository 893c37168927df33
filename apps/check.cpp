// sinkscope check: the regression gate.
#include "check/run_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/keep_going.h"
#include "base/nearest_name.h"
#include "base/print.h"
#include "base/terminal.h"
#include "check/append_summary.h"
#include "check/render_check.h"
#include "check/update_baseline.h"
#include "commands.h"
#include "config/command_line.h"
#include "files/atomic_file.h"
#include "files/output_paths.h"
#include "report/read_sweep.h"
#include "report/report.h"

namespace sinkscope {
namespace {

constexpr const char* kExamples = R"(Examples:
  sinkscope check new.json --baseline old.json
  sinkscope check new.json --baseline old.json --tolerance loss=2% --tolerance sink_rate=0.05
  sinkscope check new.json --baseline old.json --rules rules.toml --junit check.xml --github
  sinkscope check sweep-new/ --baseline sweep-old/
  sinkscope check report.json --expect 'sink_rate<0.05' --expect 'max(massive_activation.ratio)<1000'
  sinkscope check new.json --baseline old.json --update-baseline
)";

struct CheckCommand {
  CheckConfig check;
  std::optional<std::string> junit, benchmark_json;
  bool json = false, github = false, quiet = false, color = true;
};

/// One of `names` for each part of `texts`, which may hold several with commas between them.
template <class Enum>
std::vector<Enum> chosen(const std::string& flag, const std::vector<std::string>& texts, const std::vector<Enum>& all) {
  std::vector<std::string> names;
  for (const Enum value : all) {
    names.emplace_back(name_of(value));
    for (char& c : names.back()) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  std::vector<Enum> found;
  for (const std::string& text : texts)
    for (std::size_t from = 0; from <= text.size();) {
      const std::size_t comma = std::min(text.find(',', from), text.size());
      std::string name = text.substr(from, comma - from);
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      const auto at = std::find(names.begin(), names.end(), name);
      if (at == names.end())
        throw UsageError(
            fmt::format("check: {} {}: expects {}{}", flag, name, fmt::join(names, ", "), did_you_mean(name, names)));
      found.push_back(all[static_cast<std::size_t>(at - names.begin())]);
      from = comma + 1;
    }
  return found;
}

IfNoBaseline parse_if_no_baseline(const std::string& text) {
  if (text == "fail") return IfNoBaseline::fail;
  if (text == "pass") return IfNoBaseline::pass;
  if (text == "create") return IfNoBaseline::create;
  throw UsageError(fmt::format("check: --if-no-baseline {}: fail, pass or create is needed", text));
}

void refuse_contradictions(const CheckCommand& command) {
  const CheckConfig& check = command.check;
  const auto refuse = [](const std::string& what) { throw UsageError("check: " + what); };
  if (check.fresh.empty()) refuse("no NEW given. Usage: sinkscope check NEW --baseline OLD [options], see --help.");
  if (check.baselines.empty() && check.expectations.empty())
    refuse("nothing to compare with: give --baseline OLD, or --expect with what should hold");
  if (check.baselines.empty() && (check.rules || !check.tolerances.empty()))
    refuse("--rules and --tolerance compare with a baseline: give --baseline OLD");
  const bool writes = check.update_baseline || check.if_no_baseline == IfNoBaseline::create;
  if (writes && (check.baselines.size() != 1 || check.baselines.front() == "-"))
    refuse("--update-baseline and --if-no-baseline create need exactly one --baseline that is a file");
  if (writes && (is_directory(check.fresh) || is_directory(check.baselines.front())))
    refuse("--update-baseline and --if-no-baseline create take reports; of a sweep copy the folder");
  if ((command.json + (command.junit == "-") + (command.benchmark_json == "-")) > 1)
    refuse("only one of --json, --junit - and --benchmark-json - can go to stdout");
}

CheckCommand parse_check(int argc, char** argv) {
  CLI::App app(
      "Compares a report with a baseline and fails (exit 1) where a value moved further than its tolerance. NEW and "
      "OLD "
      "are reports, - for stdin, or folders of sweeps.");
  CheckCommand command;
  CheckConfig& check = command.check;
  SettingSource given;
  std::vector<std::string> allowed, ignored;
  std::string if_no_baseline = "fail", rules;
  const auto repeatable = [&](const char* flag, std::vector<std::string>& to, const char* type, const char* help) {
    app.add_option(flag, to, help)->allow_extra_args(false)->type_name(type);
  };
  app.add_option("NEW", check.fresh, "the report to judge")->type_name(" ");
  repeatable("--baseline", check.baselines, "OLD", "the report to compare with; several: tolerances span their spread");
  app.add_option("--rules", check.rules, "what to compare and how closely (docs/check.md)")->type_name("FILE.toml");
  repeatable("--tolerance", check.tolerances, "METRIC=T", "0.02 (absolute) or 5% (of the old value); repeatable");
  repeatable("--expect", check.expectations, "EXPR", "METRIC[.SERIES] OP NUMBER, needs no baseline; repeatable");
  repeatable("--allow", allowed, "STATUS", "a status that does not fail: missing, incomparable, ...; repeatable");
  repeatable("--ignore-difference", ignored, "LIST", "compare in spite of other dtype,input,tokenizer,sites,heads,...");
  app.add_option("--if-no-baseline", if_no_baseline, "where OLD does not exist: fail (default), pass or create")
      ->type_name("fail|pass|create");
  app.add_flag("--update-baseline", check.update_baseline, "print the comparison, then rewrite OLD from NEW");
  app.add_flag("--json", command.json, "print every comparison as JSON");
  app.add_option("--junit", command.junit, "write JUnit XML")->type_name("FILE");
  app.add_flag("--github", command.github, "print GitHub annotations and append to GITHUB_STEP_SUMMARY");
  app.add_option("--benchmark-json", command.benchmark_json, "write headlines for github-action-benchmark")
      ->type_name("FILE");
  add_common_options(app, given);
  app.footer(kExamples);
  parse(app, argc, argv);

  check.allowed = chosen("--allow", allowed, all_statuses());
  check.ignored = chosen("--ignore-difference", ignored, all_differences());
  check.if_no_baseline = parse_if_no_baseline(if_no_baseline);
  const CommonOptions common = common_options(given);
  command.quiet = common.quiet;
  command.color = common.color;
  refuse_contradictions(command);
  return command;
}

/// Files of results, or stdout in place of the table.
struct ResultFiles {
  std::optional<AtomicFile> junit, benchmark_json;
};

void write_results(ResultFiles& files, const Outcome& outcome, bool to_stdout, KeepGoing& results) {
  const auto write = [&](std::optional<AtomicFile>& file, auto text) {
    if (file && file->is_stdout() == to_stdout) results.run([&] { file->commit(text()); });
  };
  write(files.junit, [&] { return check_as_junit(outcome); });
  write(files.benchmark_json, [&] { return dump(outcome.benchmarks.entries); });
}

void print_outcome(const CheckCommand& command, const Outcome& outcome) {
  if (command.json) {
    print(dump(check_as_json(outcome)));
  } else if (command.junit != "-" && command.benchmark_json != "-") {
    print(check_as_text(outcome, use_color(Output::out, command.color)));
  }
  if (!command.github) return;
  // GitHub reads commands from both streams; JSON and XML on stdout stay whole.
  const std::string annotations = check_as_annotations(outcome);
  if (command.json || command.junit == "-" || command.benchmark_json == "-") {
    std::fputs(annotations.c_str(), stderr);
  } else {
    print(annotations);
  }
}

/// Exit 0: the new state is accepted. An expectation that does not hold is no matter of the baseline, so nothing is
/// written then.
Exit write_baseline(const CheckCommand& command, AtomicFile& baseline, const Outcome& outcome) {
  if (std::any_of(outcome.comparisons.begin(), outcome.comparisons.end(),
                  [&](const Comparison& c) { return !c.expression.empty() && fails(outcome, c); }))
    return Exit::regression;
  if (const auto unfit = unfit_for_baseline(outcome.report)) throw Error(*unfit);
  baseline.commit(dump(outcome.report));
  if (!command.quiet)
    std::fprintf(stderr, "sinkscope: %s is now %s\n", command.check.baselines.front().c_str(),
                 command.check.fresh == "-" ? "the report on stdin" : command.check.fresh.c_str());
  return Exit::ok;
}

void check_outputs(const CheckCommand& command) {
  std::vector<OutputPath> outputs;
  if (command.json) outputs.push_back({"--json", "-"});
  if (command.junit) outputs.push_back({"--junit", *command.junit});
  if (command.benchmark_json) outputs.push_back({"--benchmark-json", *command.benchmark_json});
  std::vector<std::string> inputs = command.check.baselines;
  inputs.push_back(command.check.fresh);
  if (command.check.rules) inputs.push_back(*command.check.rules);
  check_output_paths(outputs, inputs);
}

}  // namespace

Exit check_command(int argc, char** argv) {
  const CheckCommand command = parse_check(argc, argv);
  check_outputs(command);
  // Opened first: a place that cannot be written is found before anything is printed.
  ResultFiles files;
  std::optional<AtomicFile> baseline;
  if (command.junit) files.junit.emplace(AtomicFile::open(*command.junit));
  if (command.benchmark_json) files.benchmark_json.emplace(AtomicFile::open(*command.benchmark_json));

  const Outcome outcome = run_check(command.check);
  const bool create = command.check.if_no_baseline == IfNoBaseline::create && outcome.baselines.empty();
  if (command.check.update_baseline || create) baseline.emplace(AtomicFile::open(command.check.baselines.front()));

  // The files come before stdout, whose reader may be gone; a baseline is rewritten last, when the comparison was
  // shown.
  KeepGoing results;
  write_results(files, outcome, /*to_stdout=*/false, results);
  if (command.github) results.run([&] { append_summary(outcome); });
  print_outcome(command, outcome);
  write_results(files, outcome, /*to_stdout=*/true, results);
  if (const std::string left_out = left_out_words(outcome.benchmarks); files.benchmark_json && !left_out.empty())
    std::fprintf(stderr, "sinkscope: warning: %s\n", left_out.c_str());
  results.rethrow();
  if (baseline) return write_baseline(command, *baseline, outcome);
  return outcome.ok ? Exit::ok : Exit::regression;
}

}  // namespace sinkscope
