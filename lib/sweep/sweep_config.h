#pragma once
// The command line of `sinkscope sweep`, and the checkpoints that it names.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/measure_config.h"
#include "sweep/checkpoint_data.h"
#include "sweep/shard.h"
#include "sweep/steps.h"
#include "sweep/sweep_checkpoint.h"

namespace sinkscope {

struct SweepConfig {
  MeasureConfig settings;            ///< what is measured, of every checkpoint; `model` is the graph, if there is one
  std::vector<std::string> models;   ///< MODEL...; several are checkpoints of their own
  std::vector<std::string> weights;  ///< --weights PATH...
  std::optional<std::string> manifest;
  std::string directory;  ///< -o; with `merge` the directory to merge
  bool merge = false;     ///< only build the index of `directory`
  std::string shard = "none";
  std::optional<std::string> step_regex, expect_steps, csv;
  std::vector<std::pair<std::string, double>> stays_above;  ///< metric and value
  bool rehash = false, json = false, dry_run = false;

  /// Whether the checkpoints are weights of one graph, or whole model files.
  CheckpointKind kind() const;
};

/// `sinkscope sweep ...`. `notes` as in resolve().
SweepConfig parse_sweep(int argc, char** argv, std::vector<std::string>* notes = nullptr);

struct SweepPlan {
  CheckpointKind kind = CheckpointKind::weights;
  std::vector<SweepCheckpoint> checkpoints;  ///< all, sorted by step
  std::vector<std::int64_t> expected_steps;  ///< --expect-steps; empty without
  Shard shard;                               ///< the part of them that this process measures
};

/// Finds the checkpoints. Throws InputError where nothing lies at any of the paths, UsageError as the functions of
/// manifest.h, steps.h and shard.h do.
SweepPlan plan_sweep(const SweepConfig& config, const Environment& environment);

}  // namespace sinkscope
