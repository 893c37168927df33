// --dry-run: what a run would do and what it would cost.
#include "dry_run.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace sinkscope {
namespace {

/// Multiply-adds of a float matrix product that this machine does in a second: the yardstick of the estimate.
double products_per_second() {
  constexpr std::int64_t kSize = 512;
  const at::Tensor a = at::randn({kSize, kSize}), b = at::randn({kSize, kSize});
  at::mm(a, b);
  const auto start = std::chrono::steady_clock::now();
  at::mm(a, b);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return static_cast<double>(kSize * kSize * kSize) / std::max(seconds, 1e-9);
}

std::string bytes(double n) { return n < 1e9 ? fmt::format("{:.1f} MB", n / 1e6) : fmt::format("{:.1f} GB", n / 1e9); }

}  // namespace

std::string dry_run(const InstrumentedModel& model, const MeasureConfig& config, const Input& input) {
  const Needs needs = needs_of(config);
  const std::vector<Batch> all = batches(input.sequences, config.input.batch);
  std::int64_t largest = 0;
  for (const Batch& b : all) largest = std::max(largest, static_cast<std::int64_t>(b.sequences.size()) * b.length);

  std::string text = fmt::format("{}: {} attention sites ({} found), {} residual streams\n", config.model,
                                 model.layout.sites.size(), model.sites_found, model.layout.streams.size());
  for (const SiteInfo& site : model.layout.sites)
    text += fmt::format("  {:>3}  {}{}  {}\n", index(site.id), site.path,
                        site.ordinal > 0 ? fmt::format("#{}", site.ordinal) : "", site.pattern);
  text +=
      fmt::format("input: {} sequences, {} tokens, {} batches of at most {} tokens\nmetrics:", input.sequences.size(),
                  input.info.tokens, all.size(), largest);
  for (const SelectedMetric& m : config.metrics) text += " " + m.spec->name;
  text += "\npasses:\n  1  forward of the model, once per batch; log-sum-exp from the attention operator itself\n";
  if (needs.first_keys > 0)
    text += fmt::format("  +  attention to the first {} keys at every site: O(T K d)\n", needs.first_keys);
  if (needs.learned_sink) text += "  +  probability of learned sinks, where a site has one\n";
  if (needs.full_pass()) text += "  +  one more Q K^T pass at every site: column sums, entropy, row sums\n";
  if (needs.key_norms || needs.value_norms || needs.head_output_norms)
    text += "  +  norms of keys, values and head outputs\n";
  if (needs.streams()) text += "  +  one pass over every residual stream\n";
  if (needs.loss) text += "  +  next-token loss over the logits, in blocks\n";
  if (needs.jacobian)
    text += fmt::format("  +  a run with gradients for every sequence, then {} backward passes a target\n",
                        needs.jacobian->probes == 0 ? std::string("d") : std::to_string(needs.jacobian->probes));

  // A decoder does about one multiply-add per parameter and token; attention and statistics come on top.
  const double forward = static_cast<double>(model.loaded.parameters) * static_cast<double>(input.info.tokens);
  const double logits = static_cast<double>(largest) * static_cast<double>(model.loaded.vocabulary().value_or(0)) * 4;
  const std::size_t width = model.loaded.dtype == "float64" ? 8 : model.loaded.dtype == "float32" ? 4 : 2;
  text += fmt::format(
      "estimate, without activations: parameters {}, logits of a batch {}, at least {:.1f} s for the linear maps on "
      "this machine's CPU\n",
      bytes(static_cast<double>(model.loaded.parameters) * static_cast<double>(width)), bytes(logits),
      forward / products_per_second());
  return text;
}

}  // namespace sinkscope
