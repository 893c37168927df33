#include "measure/batch_recorder.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace sinkscope {
namespace {

// Logits scored at a time, as float32: on a CPU the temporaries then stay in its cache, elsewhere launches would cost
// more.
constexpr std::int64_t kLossBlockBytesCpu = std::int64_t{2} << 20, kLossBlockBytes = std::int64_t{64} << 20;

std::vector<double> row_of(std::span<const double> values, std::size_t b, std::size_t batch) {
  if (values.empty()) return {};
  const std::size_t width = values.size() / batch;
  return {values.begin() + static_cast<std::ptrdiff_t>(b * width),
          values.begin() + static_cast<std::ptrdiff_t>((b + 1) * width)};
}

}  // namespace

at::Tensor ids_tensor(const std::vector<const Sequence*>& sequences) {
  const auto length = sequences.empty() ? 0 : static_cast<std::int64_t>(sequences.front()->ids.size());
  at::Tensor ids = at::empty({static_cast<std::int64_t>(sequences.size()), length}, at::kLong);
  auto* out = ids.mutable_data_ptr<std::int64_t>();
  for (const Sequence* sequence : sequences) out = std::copy(sequence->ids.begin(), sequence->ids.end(), out);
  return ids;
}

at::Tensor input_tensor(const Input& input, const std::vector<const Sequence*>& sequences, at::ScalarType dtype) {
  if (!input.tensor) return ids_tensor(sequences);
  const TensorRows& rows = *input.tensor;
  const at::ScalarType stored = rows.dtype == "float64"    ? at::kDouble
                                : rows.dtype == "float16"  ? at::kHalf
                                : rows.dtype == "bfloat16" ? at::kBFloat16
                                                           : at::kFloat;
  std::vector<std::int64_t> shape{static_cast<std::int64_t>(sequences.size())};
  shape.insert(shape.end(), rows.shape.begin(), rows.shape.end());
  at::Tensor values = at::empty(shape, stored);
  auto* out = static_cast<std::byte*>(values.mutable_data_ptr());
  for (const Sequence* sequence : sequences) {
    const auto row = rows.row(index(sequence->id));
    out = std::copy(row.begin(), row.end(), out);
  }
  return values.to(dtype);
}

at::Tensor next_token_nll(const at::Tensor& logits, const at::Tensor& ids) {
  const std::int64_t predicted = logits.size(1) - 1;
  at::Tensor sum = at::zeros({logits.size(0)}, logits.options().dtype(at::kDouble));
  if (predicted <= 0) return sum;
  const std::int64_t bytes = logits.is_cpu() ? kLossBlockBytesCpu : kLossBlockBytes;
  const std::int64_t rows =
      std::max<std::int64_t>(1, bytes / std::max<std::int64_t>(1, logits.size(0) * logits.size(2) * 4));
  const at::Tensor targets = ids.to(logits.device()).narrow(1, 1, predicted);
  for (std::int64_t begin = 0; begin < predicted; begin += rows) {
    const std::int64_t count = std::min(rows, predicted - begin);
    const at::Tensor block = logits.narrow(1, begin, count).to(at::kFloat);
    const at::Tensor chosen = block.gather(2, targets.narrow(1, begin, count).unsqueeze(2)).squeeze(2);
    sum += (at::logsumexp(block, {2}) - chosen).sum(1, false, at::kDouble);
  }
  return sum;
}

BatchRecorder::BatchRecorder(const Needs& needs, std::vector<const Sequence*> sequences, Layout& layout)
    : needs_(needs), sequences_(std::move(sequences)), layout_(layout) {
  if (needs_.triggers.empty() || sequences_.front()->ids.empty()) return;
  const at::Tensor ids = ids_tensor(sequences_);
  at::Tensor trigger = at::zeros_like(ids, at::kBool);
  for (const std::int64_t id : needs_.triggers) trigger.logical_or_(ids == id);
  non_trigger_ = trigger.logical_not();
}

Taps BatchRecorder::taps() {
  Taps taps;
  // Always: what a query may see decides whether there is a next-token loss, whatever the metrics.
  taps.site = [this](SiteId id, const AttentionView& view) { record_site(id, view); };
  if (needs_.streams())
    taps.stream = [this](StreamId id, const at::Tensor& x) {
      record_stream(id, x);
      return x;
    };
  taps.want_lse = needs_.first_keys > 0 || needs_.full_pass() || needs_.learned_sink;
  return taps;
}

void BatchRecorder::describe(SiteId id, const SiteBatch& site) {
  SiteInfo& info = layout_.sites.at(index(id));
  info.calls += site.batch;
  info.query_heads = site.heads;
  if (site.kv_heads > 0) info.kv_heads = site.kv_heads, info.head_dim = site.head_dim;
  if (site.softcap > 0) info.softcap = site.softcap;
  info.row_sum = site.row_sum;
  info.learned_sink = site.row_sum == "with_sink";
  // Keys that are not the queries' own positions: another sequence is attended to, unless some come with the model.
  const bool more = site.keys * site.windows > site.queries,
             extra = site.extra_keys.before + site.extra_keys.behind > 0;
  if (site.queries != site.keys * site.windows && info.calls == site.batch && !(more && (extra || info.own_keys)))
    info.kind = "cross";
  // Queries in chunks also see more keys than they are, all of them tokens.
  if (more && info.kind == "self" && site.queries == sequences_.front()->length)
    extra_key_sites_[index(id)] = site.extra_keys;
  info.measured_by = site.measured_by;
  info.reason = site.reason;
  // A short sequence does not show a window: what the longest ones showed stands.
  const std::string mask = name_of(site.mask);
  const auto rank = [](const std::string& name) {
    constexpr std::array<const char*, 6> order{"none", "causal", "window", "chunk", "padding", "other"};
    return std::find(order.begin(), order.end(), name) - order.begin();
  };
  if (info.calls > site.batch && rank(mask) < rank(info.mask)) return;
  info.mask = mask;
  info.window = site.mask_width > 0 ? std::optional(site.mask_width) : std::nullopt;
}

void BatchRecorder::record_site(SiteId id, const AttentionView& view) {
  if (index(id) >= layout_.sites.size()) {  // not selected: only what its queries see
    try {
      causal_ = causal_ && site_statistics(view, {}, std::nullopt, masks_).causal;
    } catch (const InputError&) {  // not understood, and not asked for
      causal_ = false;
    }
    return;
  }
  const SiteInfo& info = layout_.sites.at(index(id));
  try {
    if (non_trigger_) non_trigger_ = non_trigger_->to(view.rows().device());
    SiteBatch site = site_statistics(view, needs_, non_trigger_, masks_);
    if (site.batch != static_cast<std::int64_t>(sequences_.size()))
      throw InputError(
          fmt::format("its first dimension is {} where {} sequences were given: heads or tokens seem to stand before "
                      "the batch or to "
                      "be folded into it",
                      site.batch, sequences_.size()));
    describe(id, site);
    if (!sequences_.front()->ids.empty() && site.windows <= 1 && site.queries != sequences_.front()->length)
      odd_sites_.insert(index(id));
    causal_ = causal_ && site.causal;
    SiteSlots slots;
    slots.id = id;
    const FirstKeysSums& first = site.first_keys;
    slots.key_sum = values_.add(first.key_sum), slots.first_query = values_.add(first.first_query);
    slots.last_query = values_.add(first.last_query), slots.tail_sum = values_.add(first.tail_sum);
    slots.after_first_k_sum = values_.add(first.after_first_k_sum),
    slots.selected_sum = values_.add(first.selected_sum);
    slots.renormalised_sum = values_.add(first.renormalised_sum),
    slots.learned_sink_sum = values_.add(needs_.learned_sink ? first.learned_sink_sum : at::Tensor());
    slots.proxy_key_sum = values_.add(site.proxy_key_sum);
    slots.column_sum = values_.add_float(needs_.column_sums ? site.column_sum : at::Tensor());
    slots.entropy_sum = values_.add(site.entropy_sum);
    slots.normalised_entropy_sum = values_.add(site.normalised_entropy_sum);
    slots.row_sum_error = values_.add(site.row_sum_error);
    slots.key_first = values_.add(site.key_norm.first), slots.key_others = values_.add(site.key_norm.others);
    slots.value_first = values_.add(site.value_norm.first), slots.value_others = values_.add(site.value_norm.others);
    slots.output_mean = values_.add(site.head_output_norm.mean),
    slots.output_last = values_.add(site.head_output_norm.last);
    site.first_keys = {};
    site.proxy_key_sum = at::Tensor();
    site.column_sum = site.entropy_sum = site.normalised_entropy_sum = site.row_sum_error = at::Tensor();
    site.key_norm = site.value_norm = {};
    site.head_output_norm = {};
    slots.batch = std::move(site);
    sites_.push_back(std::move(slots));
  } catch (const InputError& error) {
    throw InputError(fmt::format("attention site {} ({}): {}", index(id), info.path, error.what()));
  }
}

void BatchRecorder::record_stream(StreamId id, const at::Tensor& x) {
  const bool fits = !x.is_nested() && x.dim() == 3 && x.size(0) == static_cast<std::int64_t>(sequences_.size()) &&
                    (sequences_.front()->ids.empty() || x.size(1) == sequences_.front()->length) &&
                    x.is_floating_point();
  if (!fits) {
    odd_streams_.insert(index(id));
    return;
  }
  const StreamRequest request{needs_.stream_extremes, needs_.massive_magnitude, needs_.massive_ratio};
  const StreamStatistics s = stream_statistics(x.detach(), request);
  streams_.push_back({id, values_.add(s.norm), values_.add(s.finite), values_.add(s.top_value), values_.add(s.median),
                      values_.add(s.massive_value), values_.add(s.massive_index), x.size(2)});
}

void BatchRecorder::add_loss(const at::Tensor& logits) {
  nll_ = values_.add(next_token_nll(logits, ids_tensor(sequences_)));
}

void BatchRecorder::emit_site(const SiteSlots& slots, std::size_t b, const ObservationSink& sink) {
  const std::size_t batch = sequences_.size();
  const SiteBatch& site = slots.batch;
  const auto take = [&](std::size_t slot) { return row_of(values_.at(slot), b, batch); };
  SiteObservation o;
  o.sequence = sequences_[b];
  o.site = slots.id;
  o.query_heads = site.heads, o.kv_heads = site.kv_heads;
  o.kind = layout_.sites.at(index(slots.id)).kind;
  o.visibility = PerHead(site.visibility.size() == 1 ? site.visibility.front() : site.visibility.at(b));
  // Short sequences have fewer keys than are asked for: those beyond the last have no attention.
  const auto padded = [&](const std::vector<double>& sums) {
    const auto heads = static_cast<std::size_t>(site.heads), wanted = static_cast<std::size_t>(needs_.first_keys),
               there = sums.size() / heads;
    std::vector<double> all(sums.empty() ? 0 : heads * wanted);
    for (std::size_t h = 0; h < heads; ++h)
      std::copy_n(sums.begin() + static_cast<std::ptrdiff_t>(h * there), there,
                  all.begin() + static_cast<std::ptrdiff_t>(h * wanted));
    return all;
  };
  o.first_key_sum = padded(take(slots.key_sum)), o.proxy_key_sum = padded(take(slots.proxy_key_sum));
  if (!o.first_key_sum.empty()) o.first_keys = needs_.first_keys;
  o.first_query = take(slots.first_query), o.last_query = take(slots.last_query), o.tail_sum = take(slots.tail_sum);
  o.after_first_k_sum = take(slots.after_first_k_sum), o.non_trigger_sum = take(slots.selected_sum);
  o.renormalised_sum = take(slots.renormalised_sum), o.learned_sink_sum = take(slots.learned_sink_sum);
  if (const auto columns = values_.at_float(slots.column_sum); !columns.empty()) {
    const std::size_t width = columns.size() / batch;
    o.column_sum.assign(columns.begin() + static_cast<std::ptrdiff_t>(b * width),
                        columns.begin() + static_cast<std::ptrdiff_t>((b + 1) * width));
  }
  o.entropy_sum = take(slots.entropy_sum), o.normalised_entropy_sum = take(slots.normalised_entropy_sum);
  const auto is_nan = [](double x) { return std::isnan(x); };
  if (site.row_sum == "free" && std::any_of(o.entropy_sum.begin(), o.entropy_sum.end(), is_nan))
    o.entropy_sum.clear(), o.normalised_entropy_sum.clear();  // weights below 0; a NaN among them is refused below
  o.key_norm_first = take(slots.key_first), o.key_norm_others = take(slots.key_others);
  o.value_norm_first = take(slots.value_first), o.value_norm_others = take(slots.value_others);
  o.head_output_norm_mean = take(slots.output_mean), o.head_output_norm_last = take(slots.output_last);

  const std::vector<double> error = take(slots.row_sum_error);
  o.valid.assign(static_cast<std::size_t>(site.heads), 1);
  for (std::size_t h = 0; h < o.valid.size(); ++h) {
    bool good = error.empty() || error[h] <= site.row_sum_tolerance;  // false for NaN
    for (const auto* values : {&o.first_query, &o.last_query, &o.entropy_sum, &o.head_output_norm_mean})
      good = good && (values->empty() || std::isfinite((*values)[h]));
    for (std::int64_t k = 0; k < o.first_keys; ++k)
      good = good &&
             std::isfinite(o.first_key_sum[h * static_cast<std::size_t>(o.first_keys) + static_cast<std::size_t>(k)]);
    o.valid[h] = good ? 1 : 0;
    any_invalid_ = any_invalid_ || !good;
  }
  sink.site(o);
}

void BatchRecorder::emit_stream(const StreamSlots& slots, std::size_t b, const ObservationSink& sink) {
  const std::size_t batch = sequences_.size();
  const auto take = [&](std::size_t slot) { return row_of(values_.at(slot), b, batch); };
  StreamObservation o;
  o.sequence = sequences_[b];
  o.stream = slots.id;
  const std::vector<double> norm = take(slots.norm);
  o.position_norm.assign(norm.begin(), norm.end());
  o.norm_first = norm.empty() ? std::numeric_limits<double>::quiet_NaN() : norm.front();
  double others = 0;
  for (std::size_t i = 1; i < norm.size(); ++i) others += norm[i];
  o.norm_others = others / (static_cast<double>(norm.size()) - 1);  // 0 / 0 at T = 1: undefined
  o.valid = take(slots.finite).front() != 0;
  any_invalid_ = any_invalid_ || !o.valid;
  if (const auto top = take(slots.top_value); !top.empty()) {
    o.top1 = std::abs(top[0]), o.top2 = std::abs(top[1]), o.top3 = std::abs(top[2]);
    o.median = take(slots.median).front();
    const auto value = take(slots.massive_value), where = take(slots.massive_index);
    for (std::size_t i = 0; i < value.size() && where[i] >= 0; ++i) {
      const auto element = static_cast<std::int64_t>(where[i]);
      o.massive.push_back({element / slots.width, element % slots.width, value[i]});
    }
  }
  sink.stream(o);
}

void BatchRecorder::emit(const ObservationSink& sink) {
  values_.finish();
  masks_.clear();
  for (std::size_t b = 0; b < sequences_.size(); ++b) {
    for (const SiteSlots& slots : sites_) emit_site(slots, b, sink);
    for (const StreamSlots& slots : streams_) emit_stream(slots, b, sink);
    if (nll_) sink.loss({sequences_[b], values_.at(*nll_)[b], sequences_[b]->length - 1});
  }
}

}  // namespace sinkscope
