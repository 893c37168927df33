#include "measure/provenance.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sched.h>
#include <torch/version.h>

#include <chrono>

namespace sinkscope {
namespace {

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

std::string now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::now())); }

ModelInfo model_info(const InstrumentedModel& model) {
  ModelInfo info;
  info.path = model.loaded.path;
  info.sha256 = model.loaded.sha256;
  info.parameters = model.loaded.parameters;
  info.dtype = model.loaded.dtype;
  info.vocabulary = model.loaded.vocabulary();
  info.metadata = model.loaded.metadata;
  if (info.metadata.is_object()) info.metadata.erase("samples");
  info.weights = model.weights;
  return info;
}

SettingsInfo settings_info(const InstrumentedModel& model) {
  SettingsInfo info;
  info.device = model.device.str();
  info.dtype = model.loaded.dtype;
  info.torch = TORCH_VERSION;
  if (!model.device.is_cpu()) {
    const auto version = at::detail::getCUDAHooks().versionCUDART();  // 13000: 13.0
    info.cuda = fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  }
  info.threads = at::get_num_threads();
  info.batch_tokens = kBatchTokens;
  return info;
}

/// Keeps the values at `indices`, ascending.
void keep(std::vector<Number>& values, const std::vector<std::size_t>& indices) {
  std::vector<Number> kept;
  for (const std::size_t i : indices)
    if (i < values.size()) kept.push_back(values[i]);
  values = std::move(kept);
}

}  // namespace

void set_threads(const MeasureConfig& config) {
  at::set_num_threads(static_cast<int>(config.threads.value_or(usable_cores())));
}

ModelFacts facts_of(const InstrumentedModel& model) {
  ModelFacts facts = facts_from_metadata(model.loaded.metadata, model.loaded.path);
  facts.positions = model.loaded.positions();
  if (!facts.vocabulary) facts.vocabulary = model.embedding_rows;
  return facts;
}

Report report_head(const InstrumentedModel& model, const MeasureConfig& config, const Input& input,
                   std::vector<std::string> argv) {
  Report report;
  report.labels = config.labels;
  report.created = now();
  report.argv = std::move(argv);
  report.preset = config.preset.value_or("");
  report.effective_config = effective_json(config);
  report.model = model_info(model);
  report.input = input.info;
  report.settings = settings_info(model);
  report.unmatched = model.unmatched;
  const auto add = [&](const std::vector<Warning>& warnings) {
    report.warnings.insert(report.warnings.end(), warnings.begin(), warnings.end());
  };
  auto deviations = config.protocol_deviations;
  for (std::string& d : input_deviations(config, static_cast<std::int64_t>(input.sequences.size()), input.without_bos))
    deviations.push_back(std::move(d));
  if (!deviations.empty())
    add({{"protocol_deviation",
          fmt::format("not the protocol of {}: {}.", config.preset.value_or(""), fmt::join(deviations, "; "))}});
  add(model.warnings);
  add(input.warnings);
  return report;
}

void complete_report(Report& report, MeasureResult result, const Input& input) {
  if (!result.complete) {
    std::vector<Sequence> ran;
    for (const std::size_t i : result.ran) ran.push_back(input.sequences[i]);
    count_sequences(report.input, ran, input.tensor ? &*input.tensor : nullptr);
    for (MetricResult& metric : result.metrics) keep(metric.measurement.per_sequence, result.ran);
  }
  if (input.tensor && report.input.max_length == 0) {
    report.input.min_length = report.input.max_length = result.positions;
    report.input.tokens = result.positions * report.input.sequences;
  }
  report.complete = result.complete;
  report.numerical_failure = result.numerical_failure;
  report.layout = std::move(result.layout);
  report.metrics = std::move(result.metrics);
  report.run = result.run;
  report.warnings.insert(report.warnings.end(), result.warnings.begin(), result.warnings.end());
}

}  // namespace sinkscope
