#include "measure/bench.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <chrono>

#include "kernels/full_pass.h"
#include "measure/batch_recorder.h"
#include "measure/device.h"
#include "measure/measure.h"
#include "measure/memory_peak.h"
#include "measure/site_statistics.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kAttentionRounds = 3;

/// Kernels on a GPU run on after their launch: the clock starts and stops when they are done.
template <class Run>
double seconds_of(at::Device device, Run&& run) {
  synchronise(device);
  const auto start = std::chrono::steady_clock::now();
  run();
  synchronise(device);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void run_plain(const InstrumentedModel& model, const std::vector<Batch>& batches, const Input& input,
               const Taps* taps) {
  const at::NoGradGuard no_grad;
  for (const Batch& batch : batches) {
    std::vector<const Sequence*> members;
    for (const std::size_t i : batch.sequences) members.push_back(&input.sequences[i]);
    run_graph(taps == nullptr ? *model.plain : *model.tapped, model.inputs(input_tensor(input, members, model.dtype)),
              taps == nullptr ? Taps{} : *taps);
  }
}

std::vector<std::string> passes_of(const Needs& needs) {
  std::vector<std::string> passes;
  if (needs.first_keys > 0) passes.push_back("first keys");
  if (needs.learned_sink) passes.push_back("learned sinks");
  if (needs.full_pass()) passes.push_back("all keys");
  if (needs.key_norms || needs.value_norms || needs.head_output_norms) passes.push_back("head norms");
  if (needs.streams()) passes.push_back("streams");
  if (needs.loss) passes.push_back("loss");
  return passes;
}

/// Times the attention forward and the pass over all keys at every site of one run.
std::optional<AttentionCost> attention_cost(const InstrumentedModel& model, const std::vector<Batch>& batches,
                                            const Input& input, double plain_seconds) {
  double forward = 0, pass = 0;
  MaskCache masks;
  Taps taps;
  taps.site = [&](SiteId, const AttentionView& view) {
    if (view.weights.defined()) return;
    const RecognisedMask* mask =
        view.mask ? &masks.recognise(*view.mask, view.score, view.query.size(2), view.key.size(2), 1) : nullptr;
    AttentionCall call = attention_call(view, mask);
    forward += seconds_of(model.device, [&] { view.forward(); });
    pass += seconds_of(model.device, [&] {
      if (!call.lse.defined()) call.lse = log_sum_exp(call);
      full_pass(call);
    });
  };
  run_plain(model, batches, input, &taps);
  if (forward <= 0) return std::nullopt;
  return AttentionCost{forward / plain_seconds, pass / forward};
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n == 0 ? 0 : n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

BenchResult bench(const InstrumentedModel& model, const Input& input,
                  const std::vector<std::pair<std::string, MeasureConfig>>& presets, std::int64_t runs) {
  BenchResult result;
  const std::vector<Batch> plan = batches(input.sequences, presets.front().second.input.batch);
  for (const auto& [name, config] : presets) result.presets.push_back({name, {}, 0, passes_of(needs_of(config))});
  std::vector<std::vector<double>> ratios(presets.size());
  for (std::int64_t round = -1; round < runs; ++round) {
    const bool counted = round >= 0;
    const auto once = [&](Timing& timing, auto&& run) {
      // Memory is counted in the warm-up round, so that counting is not in the times.
      if (counted) return timing.seconds.emplace_back(seconds_of(model.device, run));
      const MemoryPeak peak;
      run();
      timing.peak_memory_bytes = peak.bytes();
      return 0.0;
    };
    const double plain = once(result.plain, [&] { run_plain(model, plan, input, nullptr); });
    for (std::size_t p = 0; p < presets.size(); ++p) {
      const double seconds = once(result.presets[p].timing, [&] { measure(model, presets[p].second, input, {}); });
      if (counted) ratios[p].push_back(seconds / plain);
    }
  }
  for (std::size_t p = 0; p < presets.size(); ++p) result.presets[p].ratio_to_plain = median(ratios[p]);
  std::vector<double> shares, passes;
  for (std::int64_t round = 0; round < std::min(runs, kAttentionRounds); ++round)
    if (const auto cost = attention_cost(model, plan, input, median(result.plain.seconds))) {
      shares.push_back(cost->share_of_plain);
      passes.push_back(cost->fused_pass_ratio);
    }
  if (!shares.empty()) result.attention = AttentionCost{median(shares), median(passes)};
  return result;
}

}  // namespace sinkscope
