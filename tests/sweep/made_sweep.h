#pragma once
// Sweeps without a model: checkpoints are small safetensors files, a report is made from the one value that each holds.

#include <cstring>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "files/safetensors.h"
#include "files/temporary.h"
#include "report/fixed_report.h"
#include "sweep/manifest.h"
#include "sweep/sweep_checkpoints.h"

namespace sinkscope {

/// A safetensors file with one number in it.
inline std::string write_weights(const TemporaryFolder& folder, const std::string& name, float value) {
  AtomicFile file = AtomicFile::open(folder / name);
  const std::vector<float> values{value};
  const std::vector<std::int64_t> shape{1};
  write_safetensors(file, {{"w", shape, std::span<const float>(values)}});
  return folder / name;
}

/// What a test sees of a sweep.
struct MadeSweep {
  explicit MadeSweep(const std::string& output) {
    config.directory = output;
    config.models = {"graph.pt"};
    config.weights = {"..."};
    identity.config_sha256 = sha256_of("config");
    identity.graph_sha256 = sha256_of("graph");
    hooks.measure = [this](const SweepCheckpoint& checkpoint, const HashedCheckpoint& hashed) {
      measured.push_back(checkpoint.name);
      return std::optional(report(checkpoint, hashed.sha256));
    };
    hooks.say = [this](const std::string& text, bool) { said += text + "\n"; };
  }

  nlohmann::ordered_json report(const SweepCheckpoint& checkpoint, const std::string& sha256) const {
    Report made = fixed_report();
    made.labels = labels_of(checkpoint, config.settings.labels);
    made.model.sha256 = identity.graph_sha256;
    made.model.weights = WeightsInfo{checkpoint.path, sha256, "float32", 0};
    for (MetricResult& metric : made.metrics) {
      metric.measurement.rejected = 0;
      if (metric.spec->name == "sink_rate")
        metric.measurement.value = static_cast<double>(checkpoint.step.value_or(0)) / 1000;
    }
    nlohmann::ordered_json json = to_json(made);
    json["config"]["sha256"] = identity.config_sha256;
    return json;
  }

  SweepResult run(const std::vector<std::string>& paths, Shard shard = {}, std::vector<std::int64_t> expected = {}) {
    measured.clear();
    said.clear();
    SweepPlan plan;
    plan.checkpoints = name_checkpoints(paths, {});
    plan.expected_steps = std::move(expected);
    plan.shard = shard;
    return sweep_checkpoints(config, plan, identity, {{"path", "graph.pt"}, {"sha256", identity.graph_sha256}}, hooks);
  }

  SweepConfig config;
  ReportIdentity identity;
  SweepHooks hooks;
  std::vector<std::string> measured;
  std::string said;
};

inline std::vector<std::string> statuses(const SweepIndex& index) {
  std::vector<std::string> all;
  for (const SweepRow& row : index.rows) all.push_back(row.name + " " + row.status);
  return all;
}

}  // namespace sinkscope
