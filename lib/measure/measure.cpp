#include "measure/measure.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/error.h"
#include "measure/batch_recorder.h"
#include "measure/run_tapped.h"
#include "observe/jacobian.h"

namespace sinkscope {
namespace {

using MetricStates = std::vector<std::unique_ptr<Metric>>;

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

ObservationSink sink_of(const MetricStates& metrics, Arrays* arrays) {
  return {.site =
              [&metrics, arrays](const SiteObservation& o) {
                for (const auto& m : metrics) m->add_site(o);
                if (arrays != nullptr) arrays->add_site(o);
              },
          .stream =
              [&metrics, arrays](const StreamObservation& o) {
                for (const auto& m : metrics) m->add_stream(o);
                if (arrays != nullptr) arrays->add_stream(o);
              },
          .loss =
              [&metrics](const LossObservation& o) {
                for (const auto& m : metrics) m->add_loss(o);
              }};
}

/// Logits that can be scored against the ids: [B, T, V] with every id below V.
bool is_scorable(const at::Tensor& logits, const at::Tensor& ids) {
  return logits.dim() == 3 && logits.is_floating_point() && logits.size(0) == ids.size(0) &&
         logits.size(1) == ids.size(1) && (ids.numel() == 0 || ids.max().item<std::int64_t>() < logits.size(2));
}

void check_fired(const InstrumentedModel& model, MeasureResult& result) {
  for (std::size_t i = 0; i < result.layout.sites.size(); ++i) {
    const SiteInfo& site = result.layout.sites[i];
    if (site.calls > 0) continue;
    if (!model.site_inside_branch[i])
      throw InputError(fmt::format("{}: attention site {} ({}) never fired. Run `sinkscope inspect {}`.",
                                   model.loaded.path, i, site.path, model.loaded.path));
    result.warnings.push_back(
        {"site_not_reached", fmt::format("attention site {} ({}) lies in a branch that was not taken.", i, site.path)});
  }
}

/// A node in a loop runs several times for a sequence.
void warn_of_loops(MeasureResult& result, std::int64_t sequences) {
  for (std::size_t i = 0; i < result.layout.sites.size(); ++i) {
    const SiteInfo& site = result.layout.sites[i];
    if (site.calls <= sequences) continue;
    result.warnings.push_back(
        {"site_in_loop", fmt::format("attention site {} ({}) ran {} times for {} sequences: its values are means over "
                                     "the rounds of a loop, and so are those of the residual streams in it.",
                                     i, site.path, site.calls, sequences)});
  }
}

/// Queries that are not the tokens: padding inside the model, chunks, heads folded into rows.
void warn_of_positions(MeasureResult& result, const std::set<std::size_t>& odd_sites) {
  for (const std::size_t i : odd_sites)
    result.warnings.push_back(
        {"site_positions", fmt::format("attention site {} ({}) does not run on one query for each token: its positions "
                                       "are the model's own, not those of the tokens.",
                                       i, result.layout.sites[i].path)});
}

/// Key 0 is then not always the first token.
void warn_of_extra_keys(MeasureResult& result, const std::map<std::size_t, ExtraKeys>& sites) {
  for (const auto& [i, extra] : sites) {
    const std::string where = extra.before > 0 ? fmt::format("{} before those of the tokens: the first token is key {}",
                                                             extra.before, extra.before)
                              : extra.behind > 0 ? fmt::format("{} behind those of the tokens", extra.behind)
                                                 : "at places that its mask does not show";
    result.warnings.push_back({"extra_keys", fmt::format("attention site {} ({}) has keys that are no tokens, {}.", i,
                                                         result.layout.sites[i].path, where)});
  }
}

void warn_of_windows(MeasureResult& result, std::int64_t length) {
  std::int64_t hiding = 0, width = 0;
  for (const SiteInfo& site : result.layout.sites)
    if (site.window && *site.window * 2 < length) ++hiding, width = *site.window;  // of a window or a chunk
  if (hiding > 0)
    result.warnings.push_back(
        {"window_hides_key_0",
         fmt::format("{} of {} sites see only a window or chunk (of {} keys) that hides key 0 from most of {} queries: "
                     "see by_group.",
                     hiding, result.layout.sites.size(), width, length)});
}

void warn_of_streams(const InstrumentedModel& model, const Needs& needs, MeasureResult& result) {
  if (needs.jacobian && (model.loaded.dtype == "bfloat16" || model.loaded.dtype == "float16"))
    result.warnings.push_back(
        {"jacobian_16_bit", fmt::format("mixing_jacobian was computed in {}, the model's own dtype: expect errors of "
                                        "a few per cent.",
                                        model.loaded.dtype)});
  if ((needs.streams() || needs.jacobian) && model.layout.streams.empty())
    result.warnings.push_back({"no_streams", "no block boundary was found, so residual-stream metrics have no value."});
}

void warn_of_loss(MeasureResult& result, const Input& input) {
  for (const MetricResult& metric : result.metrics) {
    const bool natural = input.info.source == "tokens" || input.info.source == "samples";
    if (metric.spec->name != "loss" || !metric.measurement.value || !input.info.vocabulary || !natural) continue;
    const double uniform = std::log(static_cast<double>(*input.info.vocabulary));
    if (*metric.measurement.value >= uniform)
      result.warnings.push_back(
          {"implausible_loss", fmt::format("the loss of {:.3f} nats is no better than guessing (ln {} = {:.3f}): do "
                                           "tokenizer, BOS and weights belong together?",
                                           *metric.measurement.value, *input.info.vocabulary, uniform)});
  }
}

/// By what the queries of this model really see.
void warn_of_short_sequences(MeasureResult& result, std::int64_t length) {
  for (const MetricResult& metric : result.metrics) {
    const double share = metric.measurement.uniform.value_or(0);
    if (metric.spec->name != "sink_rate" || share <= 0) continue;
    result.warnings.push_back(
        {"short_sequences",
         fmt::format("uniform attention alone passes epsilon {} in {:.3g} % of the samples (from {} ids on): a sink "
                     "cannot be told from uniform attention there.",
                     metric.parameters.get<double>("epsilon"), 100 * share, length)});
  }
}

/// Runs the tapped graph; an error of the model says on what.
c10::IValue run_batch(const InstrumentedModel& model, const Input& input, const std::vector<const Sequence*>& members,
                      const std::function<Taps()>& fresh_taps) {
  try {
    return run_tapped(model, input_tensor(input, members, model.dtype), fresh_taps);
  } catch (const InputError& error) {
    const std::string what = input.tensor
                                 ? fmt::format("{} rows of {}", members.size(), fmt::join(input.tensor->shape, " x "))
                                 : fmt::format("{} sequences of {} tokens", members.size(), members.front()->length);
    throw InputError(fmt::format("{}: on {}: {}", model.loaded.path, what, error.what()));
  }
}

/// Refuses target positions that the shortest sequence does not have, before anything has run.
void check_targets(const Needs& needs, const Input& input) {
  if (!needs.jacobian) return;
  std::int64_t shortest = std::numeric_limits<std::int64_t>::max();
  for (const Sequence& sequence : input.sequences)
    if (sequence.length > 0) shortest = std::min(shortest, sequence.length);  // 0: not known before it runs
  for (const std::int64_t target : needs.jacobian->targets)
    if (target >= shortest || target < -shortest)
      throw UsageError(
          fmt::format("mixing_jacobian.targets: position {} lies outside a sequence of {} tokens.", target, shortest));
}

/// Feeds the metrics that need the Jacobian; one sequence at a time, gradients on.
void run_jacobian(const InstrumentedModel& model, const Input& input, const JacobianNeeds& needs,
                  const Sequence& sequence, bool causal, const MetricStates& metrics) {
  if (model.layout.streams.size() < 2) return;
  const JacobianResult jacobian =
      mixing_jacobian(*model.tapped, model.inputs(input_tensor(input, {&sequence}, model.dtype)),
                      model.layout.streams.front().id, model.layout.streams.back().id, needs, sequence.id);
  const at::Tensor values = jacobian.squared_norm.contiguous();
  JacobianObservation o;
  o.sequence = &sequence;
  o.causal = causal;
  o.targets = jacobian.targets;
  o.squared_norm.assign(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
  for (const auto& m : metrics) m->add_jacobian(o);
}

}  // namespace

MeasureResult measure(const InstrumentedModel& model, const MeasureConfig& config, const Input& input,
                      const MeasureHooks& hooks) {
  const Needs needs = needs_of(config);
  MeasureResult result;
  result.layout = model.layout;
  MetricStates metrics;
  for (const SelectedMetric& selected : config.metrics)
    metrics.push_back(selected.spec->make(selected.parameters, RunShape{common_length(input.sequences)}));
  const ObservationSink sink = sink_of(metrics, hooks.arrays);
  bool scorable = needs.loss && config.logits == Logits::all && !input.tensor;
  bool causal = true;  // no site that was called lets a position see a later one

  check_targets(needs, input);
  const auto start = std::chrono::steady_clock::now();
  std::set<std::size_t> odd_streams, odd_sites;  // whose shape is not understood
  std::map<std::size_t, ExtraKeys> extra_key_sites;
  std::int64_t sequences = 0, tokens = 0;
  for (const Batch& batch : batches(input.sequences, config.input.batch)) {
    if (hooks.interrupted()) {
      result.complete = false;
      break;
    }
    std::vector<const Sequence*> members;
    for (const std::size_t i : batch.sequences) members.push_back(&input.sequences[i]);
    const Layout before = result.layout;
    std::optional<BatchRecorder> recorder;
    try {
      const at::NoGradGuard no_grad;
      const c10::IValue output = run_batch(model, input, members, [&] {
        result.layout = before;  // a batch that runs twice counts once
        return recorder.emplace(needs, members, result.layout).taps();
      });
      // Next-token loss means something only where a position cannot see the next one.
      causal = causal && recorder->causal();
      scorable = scorable && causal;
      if (scorable) {
        const at::Tensor logits = first_tensor(output);
        scorable = is_scorable(logits, ids_tensor(members));
        if (scorable) recorder->add_loss(logits);
      }
      result.positions = std::max(result.positions, recorder->positions());
      recorder->emit(sink);
    } catch (const Error&) {
      if (sequences == 0) throw;
      result.problem = std::current_exception();
      result.complete = false;
      break;
    }
    result.numerical_failure |= recorder->any_invalid();
    odd_streams.insert(recorder->odd_streams().begin(), recorder->odd_streams().end());
    odd_sites.insert(recorder->odd_sites().begin(), recorder->odd_sites().end());
    extra_key_sites.insert(recorder->extra_key_sites().begin(), recorder->extra_key_sites().end());
    for (const Sequence* sequence : members) {
      if (!needs.jacobian) break;
      if (hooks.interrupted()) result.complete = false;  // the sequences that follow have no Jacobian
      if (!result.complete) break;
      try {
        run_jacobian(model, input, *needs.jacobian, *sequence, causal, metrics);
      } catch (const Error&) {
        if (sequences == 0 && sequence == members.front()) throw;
        result.problem = std::current_exception();
        result.complete = false;
      }
    }
    result.ran.insert(result.ran.end(), batch.sequences.begin(), batch.sequences.end());
    sequences += static_cast<std::int64_t>(members.size());
    tokens += static_cast<std::int64_t>(members.size()) * batch.length;
    hooks.progress(sequences, tokens);
    if (result.problem) break;
  }
  std::sort(result.ran.begin(), result.ran.end());
  result.run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.run.tokens_per_second = result.run.seconds > 0 ? static_cast<double>(tokens) / result.run.seconds : 0;
  result.run.peak_memory_bytes = peak_memory_bytes();
  for (const std::size_t stream : odd_streams)
    result.warnings.push_back(
        {"stream_not_measured",
         fmt::format("residual stream {} ({} {}) is no [batch, length, width] tensor, so it has no "
                     "value.",
                     stream, model.layout.streams[stream].point, model.layout.streams[stream].path)});

  result.metrics.resize(metrics.size());
  // The intervals are most of it, and no metric knows another.
  at::parallel_for(0, std::ssize(metrics), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto m = static_cast<std::size_t>(begin); m < static_cast<std::size_t>(end); ++m)
      result.metrics[m] = {config.metrics[m].spec, config.metrics[m].parameters, metrics[m]->result(result.layout)};
  });
  for (const MetricResult& metric : result.metrics) result.numerical_failure |= metric.measurement.rejected > 0;
  if (sequences > 0) check_fired(model, result);
  warn_of_loops(result, sequences);
  warn_of_positions(result, odd_sites);
  warn_of_extra_keys(result, extra_key_sites);
  if (needs.loss && !scorable && sequences > 0)
    result.warnings.push_back(
        {"no_loss", config.logits != Logits::all ? "the loss needs --logits all."
                    : input.tensor               ? "a model that takes no token ids has no next-token loss."
                    : !causal && !odd_sites.empty()
                        ? "an attention site does not run on one query for each token, so it is not known whether the "
                          "model is causal, and there is no next-token loss."
                    : !causal ? "the model is not causal, so there is no next-token loss."
                              : "the output is no [B, T, V] tensor of logits for these ids, so there is no loss."});
  warn_of_short_sequences(result, input.info.min_length);
  warn_of_windows(result, std::max(input.info.max_length, result.positions));
  warn_of_streams(model, needs, result);
  warn_of_loss(result, input);
  return result;
}

}  // namespace sinkscope
