#include "measure/verify.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"
#include "measure/batch_recorder.h"
#include "measure/measure.h"
#include "measure/run_tapped.h"
#include "measure/verify_alone.h"
#include "measure/verify_statistics.h"

namespace sinkscope {
namespace {

constexpr double kLargestLogit = 6e4;                                    // the lowest float16 lies beyond
constexpr double kPrefixTolerance = 1e-3, kPrefixTolerance16Bit = 3e-2;  // relative to the largest logit

/// Equal bit for bit, NaN included.
bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return at::equal(x.view(at::kByte), y.view(at::kByte));
}

/// Runs the plain graph on ids, turning a failure into one that names the length.
at::Tensor plain_output(const InstrumentedModel& model, const at::Tensor& ids, const char* why) {
  try {
    return first_tensor(run_graph(*model.plain, model.inputs(ids), {})).clone();
  } catch (const InputError& error) {
    throw InputError(fmt::format(
        "{}: --verify: {} ({} tokens) fails: {} Is a length baked into the trace? Export it with scripts/export_hf.py.",
        model.loaded.path, why, ids.size(1), error.what()));
  }
}

/// The first sequences of a call, as many as the materialised matrix is reasonable for.
AttentionView first_sequences(AttentionView view) {
  constexpr std::int64_t kElements = std::int64_t{1} << 26;
  const at::Tensor& rows = view.rows();
  const std::int64_t batch = rows.size(0), queries = rows.size(2);
  const std::int64_t keys = view.weights.defined() ? view.weights.size(3) : view.key.size(2);
  const std::int64_t matrix = rows.size(1) * queries * keys;
  const std::int64_t kept =
      queries > kVerifiedLength ? 1 : std::clamp<std::int64_t>(kElements / std::max<std::int64_t>(1, matrix), 1, batch);
  const auto cut = [&](at::Tensor& x) {
    if (x.defined() && x.dim() > 0 && x.size(0) == batch) x = x.narrow(0, 0, kept);
  };
  for (at::Tensor* x : {&view.key, &view.value, &view.output, &view.query, &view.lse, &view.key_lse, &view.weights,
                        &view.scores, &view.sink_mass})
    cut(*x);
  if (view.mask && view.mask->dim() == 4) cut(*view.mask);
  return view;
}

/// Whether the first half of the positions, run alone, gives the logits that it has in the whole sequence. Throws for
/// causal models that do not. Empty where it cannot be told.
std::optional<bool> prefix_consistent(const InstrumentedModel& model, const at::Tensor& ids, const at::Tensor& whole,
                                      bool is_causal) {
  const std::int64_t half = ids.size(1) / 2;
  if (half < 1) return std::nullopt;
  const at::Tensor part = plain_output(model, ids.narrow(1, 0, half).contiguous(), "half the sequence");
  if (!is_causal || whole.dim() < 2 || part.dim() != whole.dim() || whole.size(1) != ids.size(1) ||
      part.size(1) != half)
    return std::nullopt;
  const at::Tensor expected = whole.narrow(1, 0, half).to(at::kDouble), got = part.to(at::kDouble);
  if (expected.isnan().any().item<bool>() || got.isnan().any().item<bool>()) return std::nullopt;
  // Logits of ids that the model rules out are fill values, -inf or the lowest of the type: equal, and no scale.
  const at::Tensor filled = expected.abs() > kLargestLogit;
  const at::Tensor logits = expected.masked_fill(filled, 0);
  const double scale = std::max(1e-30, logits.numel() > 0 ? logits.abs().max().item<double>() : 0);
  const at::Tensor same = at::where(filled, at::where(got == expected, 0, INFINITY), (got - logits).abs());
  const double difference = (same.numel() > 0 ? same.max().item<double>() : 0) / scale;
  const double tolerance = whole.element_size() < 4 ? kPrefixTolerance16Bit : kPrefixTolerance;
  if (!(difference <= tolerance))
    throw InputError(fmt::format(
        "{}: --verify: the first {} tokens alone give other logits than at the beginning of {} tokens (relative "
        "difference {:.2g}). A length is baked into the trace, or a position sees later ones.",
        model.loaded.path, half, ids.size(1), difference));
  return true;
}

}  // namespace

VerifyInfo verify(const InstrumentedModel& model, const MeasureConfig& config, const Input& input) {
  const at::NoGradGuard no_grad;
  const Batch batch = batches(input.sequences, config.input.batch).front();
  std::vector<const Sequence*> members;
  for (const std::size_t i : batch.sequences) members.push_back(&input.sequences[i]);
  const at::Tensor ids = input_tensor(input, members, model.dtype);

  VerifyInfo info;
  info.sequences = static_cast<std::int64_t>(members.size());
  const at::Tensor plain = plain_output(model, ids, "the first batch");
  if (!same_bits(plain, plain_output(model, ids, "the first batch")))
    throw InputError(fmt::format(
        "{}: --verify: two runs on the same input differ. Is dropout active? Export the model in eval mode.",
        model.loaded.path));

  Needs needs = needs_of(config);
  needs.jacobian.reset();
  needs.loss = false;
  Layout layout;
  ErrorTable errors;
  std::optional<BatchRecorder> recorder;
  const auto fresh_taps = [&] {
    layout = model.layout, errors = {};
    Taps taps = recorder.emplace(needs, members, layout).taps();
    if (taps.site)
      taps.site = [&, record = taps.site](SiteId id, const AttentionView& view) {
        record(id, view);
        compare_site(first_sequences(view), needs, recorder->non_trigger(), errors);
      };
    if (taps.stream)
      taps.stream = [&, record = taps.stream](StreamId id, const at::Tensor& x) {
        compare_stream(x, needs, errors);
        return record(id, x);
      };
    return taps;
  };
  const at::Tensor tapped = first_tensor(run_tapped(model, ids, fresh_taps));
  info.logits_bit_identical = same_bits(plain, tapped);
  if (!info.logits_bit_identical)
    throw Error(
        Exit::internal,
        fmt::format("{}: --verify: the output with measurement on differs from the plain run. Please report this.",
                    model.loaded.path));
  if (!input.tensor) verify_alone(model, needs, members, model.layout, *recorder);
  if (!input.tensor) info.prefix_consistent = prefix_consistent(model, ids, plain, recorder->causal());
  info.max_error = errors.entries();
  return info;
}

}  // namespace sinkscope
