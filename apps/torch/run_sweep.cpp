// sinkscope sweep, the part that runs the model.
#include "run_sweep.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/sha256.h"
#include "base/terminal.h"
#include "measure/device.h"
#include "measure/instrument.h"
#include "measure/measure.h"
#include "measure/provenance.h"
#include "measure/verify.h"
#include "sweep/sweep_checkpoints.h"
#include "sweep/sweep_output.h"

namespace sinkscope {
namespace {

using nlohmann::ordered_json;

/// Measures one checkpoint after the other: in one graph whose weights are replaced, or each with its own.
class CheckpointMeasurer {
 public:
  CheckpointMeasurer(const SweepConfig& config, CheckpointKind kind, std::vector<std::string> argv)
      : config_(config), kind_(kind), argv_(std::move(argv)) {
    if (kind_ != CheckpointKind::weights) return;
    model_ = std::make_unique<InstrumentedModel>(instrument_graph(config_.settings));
    input_ = build_input(config_.settings.input, facts_of(*model_));
  }

  /// Of the file whose weights are replaced; null for whole model files.
  ordered_json model() const {
    if (!model_) return nullptr;
    return {{"path", model_->loaded.path}, {"sha256", model_->loaded.sha256}};
  }

  std::optional<ordered_json> measure(const SweepCheckpoint& checkpoint, const HashedCheckpoint& hashed) {
    MeasureConfig config = config_.settings;
    config.labels = labels_of(checkpoint, config.labels);
    if (kind_ == CheckpointKind::weights) {
      use_weights(*model_, config, checkpoint.path, hashed.sha256);
    } else {
      model_.reset();  // before the next one is loaded
      config.model = checkpoint.path;
      model_ = std::make_unique<InstrumentedModel>(instrument(config, hashed.sha256));
      input_ = build_input(config.input, facts_of(*model_));
    }
    Report report = report_head(*model_, config, input_, argv_);
    if (config.verify) report.verify = verify(*model_, config, input_);
    MeasureHooks hooks;
    hooks.interrupted = [] { return interrupted(); };
    MeasureResult result = sinkscope::measure(*model_, config, input_, hooks);
    if (result.problem) std::rethrow_exception(result.problem);
    if (!result.complete) return std::nullopt;
    complete_report(report, std::move(result), input_);
    return to_json(report);
  }

 private:
  const SweepConfig& config_;
  CheckpointKind kind_;
  std::vector<std::string> argv_;
  std::unique_ptr<InstrumentedModel> model_;
  Input input_;
};

/// Under torchrun every rank of a machine takes its own GPU and its share of the cores, unless flags say otherwise.
void take_share_of_machine(SweepConfig& config) {
  if (config.shard != "torchrun") return;
  const Environment environment = process_environment();
  const auto number = [&](const char* name) { return std::atoll(environment(name).value_or("0").c_str()); };
  MeasureConfig& settings = config.settings;
  const std::int64_t ranks = number("LOCAL_WORLD_SIZE");
  if (!settings.threads && ranks > 1) {
    set_threads(settings);
    settings.threads = std::max<std::int64_t>(1, at::get_num_threads() / ranks);
  }
  if (settings.device == Device::cpu || settings.device_index != 0) return;
  if (const int devices = device_count(settings.device); devices > 1)
    settings.device_index = static_cast<int>(number("LOCAL_RANK") % devices);
}

}  // namespace

Exit run_sweep(const SweepConfig& given, const std::vector<std::string>& argv) {
  install_interrupt_handlers();
  survive_closed_pipe();
  SweepConfig config = given;
  take_share_of_machine(config);
  set_threads(config.settings);
  const SweepPlan plan = plan_sweep(config, process_environment());
  CheckpointMeasurer measurer(config, plan.kind, argv);

  ReportIdentity identity;
  identity.kind = plan.kind;
  identity.config_sha256 = sha256_of_config(effective_json(config.settings));
  const ordered_json model = measurer.model();
  if (!model.is_null()) identity.graph_sha256 = model["sha256"].get<std::string>();
  if (config.settings.input.tokens) identity.tokens_sha256 = sha256_of_file(*config.settings.input.tokens);

  const MeasureConfig& settings = config.settings;
  Progress progress("sweeping",
                    plan.shard.end(std::ssize(plan.checkpoints)) - plan.shard.begin(std::ssize(plan.checkpoints)),
                    "checkpoints", "checkpoints", use_progress(settings.progress && !settings.quiet));
  SweepHooks hooks;
  hooks.interrupted = [] { return interrupted(); };
  hooks.measure = [&](const SweepCheckpoint& checkpoint, const HashedCheckpoint& hashed) {
    return measurer.measure(checkpoint, hashed);
  };
  hooks.progress = [&](std::size_t done, std::size_t) {
    progress.update(static_cast<std::int64_t>(done), static_cast<std::int64_t>(done));
  };
  hooks.say = [&](const std::string& text, bool detail) {
    if (settings.quiet || (detail && !settings.verbose)) return;
    progress.clear();
    std::fprintf(stderr, "sinkscope: %s%s\n", detail ? "" : "warning: ", text.c_str());
  };
  const SweepResult result = sweep_checkpoints(config, plan, identity, model, hooks);
  progress.clear();
  if (result.interrupted && interrupted()) return interrupt_exit();
  print_sweep(config, result.index);
  return conclude(config, result.index, &plan);
}

}  // namespace sinkscope
