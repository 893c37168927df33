#include "sweep/sweep_config.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/error.h"
#include "config/command_line.h"
#include "sweep/manifest.h"

namespace sinkscope {
namespace {

constexpr const char* kExamples = R"(Examples:
  sinkscope sweep model.pt --weights checkpoints/step*.safetensors -o sweep/
  sinkscope sweep model.pt --weights checkpoints/step*/ -o sweep/ --preset quick --expect-steps 0,1,2,4,1000:143000:1000
  sinkscope sweep run/step*.pt -o sweep/                        every checkpoint a whole TorchScript file
  sinkscope sweep model.pt --manifest checkpoints.jsonl -o sweep/ --shard 3/8
  sinkscope sweep --merge sweep/ --csv sweep.csv --stays-above sink_rate=0.5

Run it again to go on where it stopped: what is finished is skipped. docs/sweep.md has more, Slurm and torchrun included.
)";

void add_sweep_options(CLI::App& app, SweepConfig& config, std::vector<std::string>& above, std::string& merge) {
  app.add_option(
         "MODEL", config.models,
         "TorchScript file (.pt) whose weights are replaced; without --weights and --manifest each is a checkpoint")
      ->type_name(" ");
  app.remove_option(app.get_option_no_throw("--weights"));  // here it takes many
  app.add_option("--weights", config.weights, "the checkpoints: .safetensors files, directories, globs")
      ->type_name("PATH");
  app.add_option("--manifest", config.manifest,
                 "the checkpoints, a JSON object a line: path, and name, step, training_tokens")
      ->type_name("FILE.jsonl");
  app.add_option("-o,--output", config.directory, "the sweep directory: one report a checkpoint, and sweep.json")
      ->type_name("DIR");
  app.add_option("--shard", config.shard, "part of the checkpoints, from 0 (none)")
      ->type_name("i/n|slurm|torchrun|none");
  app.add_option("--merge", merge, "only build sweep.json of what is in the directory, and show it")->type_name("DIR");
  app.add_option("--step-regex", config.step_regex, "finds the step in a name: (?<step>...), (?<tokens>...)")
      ->type_name("RE");
  app.add_option("--expect-steps", config.expect_steps, "steps that must be there, like 0,1,2,4,1000:143000:1000")
      ->type_name("LIST");
  app.add_flag("--rehash", config.rehash, "hash every checkpoint again, also where size, time and inode are as before");
  app.add_option("--csv", config.csv, "write all reports as one long-form table; - is stdout")->type_name("FILE");
  app.add_option("--stays-above", above, "say from which step on a metric stays above a value; repeatable")
      ->allow_extra_args(false)
      ->type_name("METRIC=VALUE");
  app.add_flag("--json", config.json, "print sweep.json on stdout instead of the summary");
  app.add_flag("--dry-run", config.dry_run, "list the checkpoints and this process's part of them; run nothing");
}

std::vector<std::pair<std::string, double>> parse_levels(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, double>> levels;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    const std::string number = equals == std::string::npos ? "" : text.substr(equals + 1);
    double value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (number.empty() || error != std::errc() || end != number.data() + number.size())
      throw UsageError(fmt::format("--stays-above {}: METRIC=VALUE is needed, like sink_rate=0.5", text));
    find_metric(text.substr(0, equals));  // refuses unknown names
    levels.emplace_back(text.substr(0, equals), value);
  }
  return levels;
}

void check_usage(const SweepConfig& config) {
  const auto refuse = [](const std::string& what) {
    throw UsageError(fmt::format("sweep: {}. `sinkscope sweep --help` shows the usage.", what));
  };
  if (!config.weights.empty() && config.manifest) refuse("--weights and --manifest exclude each other");
  if (config.models.empty() && !config.manifest)
    refuse(config.weights.empty() ? "no MODEL given"
                                  : "no MODEL given; write it before --weights, which takes all that "
                                    "follows it");
  if (config.models.size() > 1 && (!config.weights.empty() || config.manifest))
    refuse(
        fmt::format("{} MODELs given, but --weights and --manifest replace the weights of one", config.models.size()));
  if (config.directory.empty()) refuse("no directory given for the reports; add -o DIR");
  if (config.settings.input.tokens == "-")
    refuse("--tokens -: a sweep that is resumed reads its ids again; save them to a file");
  for (const auto& [name, value] : config.settings.labels)
    if (name == "checkpoint" || name == "step" || name == "training_tokens")
      refuse(fmt::format("--label {}={}: the sweep itself sets this label in each report", name, value));
}

}  // namespace

CheckpointKind SweepConfig::kind() const {
  const bool one_graph = !weights.empty() || (manifest && !models.empty());
  return one_graph ? CheckpointKind::weights : CheckpointKind::model;
}

SweepConfig parse_sweep(int argc, char** argv, std::vector<std::string>* notes) {
  CLI::App app("Measures every checkpoint of a model: one report each, resumable, in parts on several machines.");
  SettingSource given;
  SweepConfig config;
  std::vector<std::string> above;
  std::string merge;
  add_input_options(app, given);
  add_what_options(app, given);
  add_where_options(app, given);
  add_common_options(app, given);
  add_sweep_options(app, config, above, merge);
  app.footer(kExamples);
  parse(app, argc, argv);

  config.stays_above = parse_levels(above);
  if (!merge.empty()) {
    if (!config.models.empty() || !config.weights.empty() || config.manifest || !config.directory.empty())
      throw UsageError("sweep: --merge DIR takes neither MODEL nor --weights, --manifest or -o; it measures nothing");
    config.merge = true;
    config.directory = merge;
    const CommonOptions common = common_options(given);
    config.settings.quiet = common.quiet;
    config.settings.color = common.color;
    return config;
  }
  config.settings = resolve(given, {Group::input, Group::what, Group::where, Group::common}, notes);
  if (config.weights.empty() && !config.manifest && config.settings.weights)  // from the environment or a file
    config.weights = {*config.settings.weights};
  config.settings.weights.reset();
  check_usage(config);
  if (config.kind() == CheckpointKind::weights) config.settings.model = config.models.front();
  return config;
}

SweepPlan plan_sweep(const SweepConfig& config, const Environment& environment) {
  SweepPlan plan;
  plan.kind = config.kind();
  plan.shard = parse_shard(config.shard, environment);
  if (config.expect_steps) plan.expected_steps = parse_steps(*config.expect_steps);
  plan.checkpoints =
      config.manifest
          ? read_manifest(*config.manifest, config.step_regex)
          : name_checkpoints(expand_globs(config.weights.empty() ? config.models : config.weights), config.step_regex);
  const bool any = std::any_of(plan.checkpoints.begin(), plan.checkpoints.end(), [](const SweepCheckpoint& checkpoint) {
    std::error_code error;
    return std::filesystem::exists(checkpoint.path, error);
  });
  if (!any)
    throw InputError(fmt::format("{}: nothing is there{}", plan.checkpoints.front().path,
                                 plan.checkpoints.size() > 1 ? ", nor at any other of the checkpoints' paths" : ""));
  return plan;
}

}  // namespace sinkscope
