// sinkscope sweep: plans the sweep and merges directories; apps/torch runs the model.
#include <fmt/format.h>

#include <cstdio>

#include "base/print.h"
#include "base/terminal.h"
#include "commands.h"
#include "config/preflight.h"
#include "files/output_paths.h"
#include "sweep/sweep_checkpoints.h"
#include "sweep/sweep_output.h"
#include "torch_commands.h"
#include "torch_preparation.h"

namespace sinkscope {
namespace {

/// One line a checkpoint: whether it is this process's, its step, name and path.
std::string listed(const SweepPlan& plan) {
  const auto total = static_cast<std::int64_t>(plan.checkpoints.size());
  std::string text = shard_line(plan.shard, total) + "\n";
  for (std::int64_t i = 0; i < total; ++i) {
    const SweepCheckpoint& checkpoint = plan.checkpoints[static_cast<std::size_t>(i)];
    const bool own = i >= plan.shard.begin(total) && i < plan.shard.end(total);
    text += fmt::format("{} {:>10}  {}  {}\n", own ? '*' : ' ',
                        checkpoint.step ? std::to_string(*checkpoint.step) : "-", checkpoint.name, checkpoint.path);
  }
  for (const MissingStep& missing : missing_steps(plan.checkpoints, plan.expected_steps))
    text += fmt::format("  {:>10}  missing: {}\n", missing.step, missing.message);
  return text;
}

/// A table must not land on a checkpoint, a model, the manifest, or a report of the sweep.
void check_csv(const SweepConfig& config, const std::vector<SweepCheckpoint>& checkpoints) {
  if (!config.csv) return;
  std::vector<OutputPath> outputs{{"--csv", *config.csv}};
  if (config.json) outputs.push_back({"--json", "-"});
  std::vector<std::string> inputs = config.models;
  inputs.push_back(config.directory);
  if (config.manifest) inputs.push_back(*config.manifest);
  for (const SweepCheckpoint& checkpoint : checkpoints) inputs.push_back(checkpoint.path);
  check_output_paths(outputs, inputs);
}

}  // namespace

Exit sweep_command(int argc, char** argv) {
  std::vector<std::string> notes;
  const SweepConfig config = parse_sweep(argc, argv, &notes);
  print_notes(config.settings, notes);
  if (config.merge) {
    check_csv(config, {});
    const SweepIndex index = merge_sweep(config);
    print_sweep(config, index);
    return conclude(config, index);
  }
  const Environment environment = process_environment();
  const SweepPlan plan = plan_sweep(config, environment);
  check_csv(config, plan.checkpoints);
  if (config.dry_run) {
    print(listed(plan));
    return Exit::ok;
  }
  MeasureConfig files = config.settings;
  if (plan.kind == CheckpointKind::weights) check_files(files);
  SweepDirectory(config.directory).create();
  if (!config.settings.quiet) {
    std::fprintf(stderr, "sinkscope: %s\n",
                 shard_line(plan.shard, static_cast<std::int64_t>(plan.checkpoints.size())).c_str());
    if (const auto hint = shard_hint(config.shard, environment))
      std::fprintf(stderr, "sinkscope: hint: %s.\n", hint->c_str());
  }
  return run_in_torch_module(argc, argv);
}

}  // namespace sinkscope
