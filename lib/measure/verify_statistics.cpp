#include "measure/verify_statistics.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "kernels/first_keys.h"
#include "kernels/full_pass.h"
#include "kernels/reference.h"
#include "kernels/stream_statistics.h"
#include "measure/site_statistics.h"
#include "measure/verify_visibility.h"

namespace sinkscope {
namespace {

/// Positions that stay when a long sequence is checked on sampled rows: spread evenly, first and last included.
at::Tensor sampled_rows(std::int64_t length) {
  return at::linspace(0, static_cast<double>(length - 1), kVerifiedRows, at::kDouble).round().to(at::kLong);
}

void compare_norms(const SiteBatch& site, const AttentionView& view, ErrorTable& errors) {
  const auto norms = [](const at::Tensor& x) { return x.to(at::kDouble).norm(2, {-1}, false); };
  const auto first_and_others = [&](const char* name, const FirstAndOthers& got, const at::Tensor& x) {
    if (!got.first.defined()) return;
    const at::Tensor n = norms(x);
    errors.compare(name, got.first, n.select(2, 0), ErrorUnit::relative);
    if (n.size(2) > 1) errors.compare(name, got.others, n.narrow(2, 1, n.size(2) - 1).mean(-1), ErrorUnit::relative);
  };
  if (view.windows == 1) {
    first_and_others("key_norm", site.key_norm, view.key);
    first_and_others("value_norm", site.value_norm, view.value);
  }
  if (site.head_output_norm.mean.defined()) {
    at::Tensor n = norms(view.output);
    if (site.is_query.defined()) n = n.masked_fill(site.is_query.logical_not(), 0);
    const at::Tensor counted = site.is_query.defined() ? site.is_query.sum(-1) : at::full({}, site.queries);
    errors.compare("head_output_norm", site.head_output_norm.mean, n.sum(-1) / counted.to(n.device()),
                   ErrorUnit::relative);
  }
  if (site.head_output_norm.last.defined() && site.queries > 0)
    errors.compare("head_output_norm_last", site.head_output_norm.last, norms(view.output).select(2, site.queries - 1),
                   ErrorUnit::relative);
}

/// `p` [B, H, Q, >= first keys] float64.
void compare_first_keys(const SiteBatch& site, const Needs& needs, const at::Tensor& p,
                        const std::optional<at::Tensor>& non_trigger, ErrorTable& errors) {
  const std::int64_t queries = site.queries, keys = p.size(3);
  const auto mean = [&](const char* name, const at::Tensor& sum, const at::Tensor& expected, std::int64_t count) {
    if (sum.defined() && count > 0)
      errors.compare(name, sum / static_cast<double>(count), expected / static_cast<double>(count),
                     ErrorUnit::absolute);
  };
  const FirstKeysSums& first = site.first_keys;
  const at::Tensor key0 = p.select(3, 0);
  if (first.key_sum.defined()) {
    mean("first_token_mass", first.key_sum.select(2, 0), key0.sum(-1), queries);
    mean("first_keys", first.key_sum, p.narrow(3, 0, first.key_sum.size(2)).sum(2), queries);
  }
  mean("first_query", first.first_query, key0.select(2, 0), 1);
  mean("last_query", first.last_query, key0.select(2, queries - 1), 1);
  const std::int64_t tail = std::min(needs.tail_window, queries);
  if (tail > 0) mean("tail", first.tail_sum, key0.narrow(2, queries - tail, tail).sum(-1), tail);
  if (first.selected_sum.defined() && non_trigger)
    mean("non_trigger", first.selected_sum, (key0 * non_trigger->to(key0.device()).unsqueeze(1)).sum(-1), queries);
  const std::int64_t k = std::min(needs.after_first_k, queries), after = queries - k;
  if (k > 0)
    mean("after_first_k", first.after_first_k_sum, p.narrow(2, k, after).narrow(3, 0, std::min(k, keys)).sum({2, 3}),
         after);
}

/// `p` [B, H, Q, K] float64.
void compare_matrix(const SiteBatch& site, const Needs& needs, const at::Tensor& p,
                    const std::optional<at::Tensor>& non_trigger, ErrorTable& errors) {
  if (site.queries == 0 || site.keys == 0) return;
  const auto rows = static_cast<double>(site.queries);
  compare_first_keys(site, needs, p, non_trigger, errors);
  const at::Tensor magnitude = p.abs(), sums = magnitude.sum(-1);
  if (site.first_keys.renormalised_sum.defined()) {
    const at::Tensor share = magnitude.select(3, 0) / sums.clamp_min(1e-300);
    errors.compare("renormalised", site.first_keys.renormalised_sum / rows, share.sum(-1) / rows, ErrorUnit::absolute);
  }
  if (site.proxy_key_sum.defined()) {
    const at::Tensor proxy = magnitude.narrow(3, 0, site.proxy_key_sum.size(2)) / (sums + 1e-8).unsqueeze(-1);
    errors.compare("proxy", site.proxy_key_sum / rows, proxy.sum(2) / rows, ErrorUnit::absolute);
  }
  if (site.column_sum.defined())
    errors.compare("column_mean", site.column_sum.to(at::kDouble) / rows, p.sum(2) / rows, ErrorUnit::absolute);
  if (site.entropy_sum.defined())
    errors.compare("attention_entropy", site.entropy_sum / rows, at::xlogy(p, p).sum({-2, -1}).neg() / rows,
                   ErrorUnit::absolute);
}

/// Long sequences: first-key probabilities, row sums and entropies of single rows. `call` as measured, `own` as the
/// model makes it.
void compare_rows(const AttentionCall& call, const AttentionCall& own, const at::Tensor& visible_keys,
                  const Needs& needs, ErrorTable& errors) {
  const std::int64_t queries = call.query.size(2), keys = call.key.size(2),
                     group = call.query.size(1) / call.key.size(1);
  const at::Tensor rows = sampled_rows(queries).to(call.query.device());
  FullPass pass;
  if (needs.full_pass()) pass = full_pass(call);
  for (std::int64_t r = 0; r < rows.size(0); ++r) {
    const std::int64_t i = rows[r].item<std::int64_t>();
    const at::Tensor k = own.key.to(at::kDouble).repeat_interleave(group, 1);
    at::Tensor s = at::matmul(own.query.narrow(2, i, 1).to(at::kDouble), k.transpose(-1, -2)) * own.score.scale;
    if (own.score.softcap > 0) s = (s / own.score.softcap).tanh() * own.score.softcap;  // [B, H, 1, K]
    at::Tensor hidden = at::ones({keys}, at::TensorOptions(at::kBool).device(s.device()));
    const std::int64_t first = own.score.first_key(i), end = own.score.end_key(i, keys);
    if (end > first) hidden.narrow(0, first, end - first).fill_(false);
    s = s.masked_fill(hidden, -INFINITY);
    if (own.mask) {
      const at::Tensor all = own.mask->expand({own.query.size(0), own.query.size(1), queries, keys}).narrow(2, i, 1);
      s = all.scalar_type() == at::kBool ? s.masked_fill(all.logical_not(), -INFINITY) : s + all.to(at::kDouble);
    }
    const at::Tensor hidden_row = (visible_keys.select(2, i) == 0).to(s.device());  // no query: [1 or B, 1 or H]
    at::Tensor lse = at::logsumexp(s, {-1}).squeeze(2);
    if (own.sink_logit) lse = at::logaddexp(lse, own.sink_logit->to(at::kDouble).view({1, -1}));
    const at::Tensor p = (s.squeeze(2) - lse.unsqueeze(-1)).exp();
    const auto compare = [&](const char* name, const at::Tensor& got, const at::Tensor& expected, ErrorUnit unit) {
      errors.compare(name, got.masked_fill(hidden_row, 0), expected.masked_fill(hidden_row, 0), unit);
    };
    compare("log_sum_exp", call.lse.select(2, i), lse, ErrorUnit::logit);
    compare("first_token_probability", first_key_probabilities(call, 1, i, 1).select(3, 0).select(2, 0), p.select(2, 0),
            ErrorUnit::absolute);
    if (pass.entropy.defined())
      compare("row_entropy", pass.entropy.select(2, i), at::xlogy(p, p).sum(-1).neg(), ErrorUnit::absolute);
    if (pass.row_sum.defined()) compare("row_sum", pass.row_sum.select(2, i), p.sum(-1), ErrorUnit::absolute);
  }
}

/// Long sequences: sums over all queries, of the first keys and of single columns. The probabilities are exp(s - lse)
/// in float64; the log-sum-exp is what compare_rows has checked. `call` as the model makes it.
void compare_columns(const SiteBatch& site, const AttentionCall& call, const at::Tensor& visible_keys,
                     const Needs& needs, const std::optional<at::Tensor>& non_trigger, ErrorTable& errors) {
  const std::int64_t queries = site.queries, keys = site.keys, group = site.heads / site.kv_heads;
  const std::int64_t leading =
      std::min(keys, std::max<std::int64_t>(1, std::max(needs.first_keys, needs.after_first_k)));
  const auto options = at::TensorOptions(call.query.device());
  const at::Tensor chosen = at::cat({at::arange(leading, options.dtype(at::kLong)),
                                     at::tensor({keys / 3, keys / 2, keys - 1}, at::kLong).to(call.query.device())});
  const at::Tensor key = call.key.index_select(2, chosen).to(at::kDouble).repeat_interleave(group, 1);
  at::Tensor s = at::matmul(call.query.to(at::kDouble), key.transpose(-1, -2)) * call.score.scale;  // [B, H, Q, chosen]
  if (call.score.softcap > 0) s = (s / call.score.softcap).tanh() * call.score.softcap;
  at::Tensor visible = at::empty({queries, chosen.size(0)}, at::kBool);
  const at::Tensor columns = chosen.cpu();
  for (std::int64_t i = 0; i < queries; ++i)
    for (std::int64_t c = 0; c < chosen.size(0); ++c)
      visible.mutable_data_ptr<bool>()[i * chosen.size(0) + c] =
          call.score.visible(i, columns.const_data_ptr<std::int64_t>()[c], keys);
  s = s.masked_fill(visible.logical_not().to(s.device()), -INFINITY);
  if (call.mask) {
    const at::Tensor all =
        call.mask->expand({call.query.size(0), call.query.size(1), queries, keys}).index_select(3, chosen);
    s = all.scalar_type() == at::kBool ? s.masked_fill(all.logical_not(), -INFINITY) : s + all.to(at::kDouble);
  }
  const at::Tensor hidden_row = (visible_keys == 0).unsqueeze(-1).to(s.device());
  const at::Tensor p = (s - call.lse.to(at::kDouble).unsqueeze(-1)).exp().masked_fill(hidden_row, 0);
  compare_first_keys(site, needs, p.narrow(3, 0, leading), non_trigger, errors);
  if (site.first_keys.learned_sink_sum.defined()) {
    const at::Tensor sink = (call.sink_logit->to(at::kDouble).view({1, -1, 1}) - call.lse.to(at::kDouble)).exp();
    errors.compare("learned_sink_mass", site.first_keys.learned_sink_sum / static_cast<double>(queries), sink.mean(-1),
                   ErrorUnit::absolute);
  }
  if (site.column_sum.defined())
    errors.compare("column_mean",
                   site.column_sum.index_select(2, chosen).to(at::kDouble) / static_cast<double>(queries),
                   p.sum(2) / static_cast<double>(queries), ErrorUnit::absolute);
}

}  // namespace

void ErrorTable::compare(const std::string& statistic, const at::Tensor& got, const at::Tensor& expected,
                         ErrorUnit unit) {
  const at::Tensor a = got.to(at::kCPU, at::kDouble), b = expected.to(at::kCPU, at::kDouble);
  if (a.numel() == 0) return;
  at::Tensor difference = (a - b).abs();
  if (unit == ErrorUnit::relative) difference = difference / b.abs().clamp_min(1e-30);
  if (unit == ErrorUnit::logit) difference = difference / b.abs().clamp_min(1);
  // Equal infinities and NaN at the same place agree; NaN at one place only is the largest error there is.
  difference = difference.masked_fill((a == b).logical_or(a.isnan().logical_and(b.isnan())), 0).nan_to_num(INFINITY);
  double& largest = largest_.try_emplace(statistic, 0.0).first->second;
  largest = std::max(largest, difference.max().item<double>());
}

std::vector<std::pair<std::string, Number>> ErrorTable::entries() const { return {largest_.begin(), largest_.end()}; }

void compare_site(const AttentionView& view, const Needs& needs, const std::optional<at::Tensor>& all_non_trigger,
                  ErrorTable& errors) {
  std::optional<at::Tensor> non_trigger;  // of the sequences of the view
  if (all_non_trigger) non_trigger = all_non_trigger->narrow(0, 0, view.rows().size(0));
  MaskCache masks;
  const SiteBatch site = site_statistics(view, needs, non_trigger, masks);
  if (view.marked()) {
    compare_matrix(site, needs, view.weights.to(at::kDouble), non_trigger, errors);
    return;
  }
  compare_norms(site, view, errors);
  if (view.materialised()) {
    at::Tensor p = at::softmax(view.scores.to(at::kDouble), -1);
    p.masked_fill_(view.weights == 0, 0);  // also by a mask behind the softmax
    if (!view.probability) p = view.weights.to(at::kDouble);
    // What the sink leaves; one minus its mass would round that away beside a sink that takes nearly all.
    if (view.sink_mass.defined()) p = p * view.weights.sum(-1, true, at::kDouble);
    if (site.is_query.defined()) p.masked_fill_(site.is_query.logical_not().unsqueeze(-1), 0);
    compare_matrix(site, needs, p, non_trigger, errors);
    return;
  }
  // The reference takes the mask itself, not what was recognised.
  AttentionCall own = attention_call(view, nullptr);
  own.mask = view.mask;
  const at::Tensor visible = count_visible(own);
  compare_visibility(site, visible, errors);
  if (site.queries <= kVerifiedLength) {
    const Reference truth = reference(own);
    const at::Tensor p = truth.probabilities.masked_fill((visible == 0).unsqueeze(-1).to(view.query.device()), 0);
    compare_matrix(site, needs, p, non_trigger, errors);
    compare_normalised_entropy(site, at::xlogy(p, p).sum(-1).neg(), visible.to(p.device()), errors);
    if (site.first_keys.learned_sink_sum.defined() && site.queries > 0)
      errors.compare("learned_sink_mass", site.first_keys.learned_sink_sum / static_cast<double>(site.queries),
                     1 - truth.pass.row_sum.mean(-1), ErrorUnit::absolute);
    if (view.lse.defined())
      errors.compare("log_sum_exp", view.lse.masked_fill(truth.lse.isinf(), INFINITY), truth.lse, ErrorUnit::logit);
  } else {
    AttentionCall call = attention_call(
        view,
        view.mask ? &masks.recognise(*view.mask, view.score, site.queries, site.keys, leading_keys(needs)) : nullptr);
    if (!call.lse.defined()) call.lse = log_sum_exp(call);
    own.lse = call.lse;
    compare_rows(call, own, visible, needs, errors);
    compare_columns(site, own, visible, needs, non_trigger, errors);
  }
}

void compare_stream(const at::Tensor& stream, const Needs& needs, ErrorTable& errors) {
  if (stream.dim() != 3 || !stream.is_floating_point()) return;
  const StreamStatistics got =
      stream_statistics(stream.detach(), {needs.stream_extremes, needs.massive_magnitude, needs.massive_ratio});
  const at::Tensor x = stream.detach().to(at::kDouble);
  errors.compare("hidden_norm", got.norm, x.norm(2, {-1}, false), ErrorUnit::relative);
  if (!needs.stream_extremes) return;
  const at::Tensor sorted = std::get<0>(x.abs().flatten(1).sort(-1));
  for (std::int64_t n = 0; n < std::min<std::int64_t>(3, sorted.size(1)); ++n)
    errors.compare("massive_activation_top" + std::to_string(n + 1), got.top_value.select(1, n).abs(),
                   sorted.select(1, sorted.size(1) - 1 - n), ErrorUnit::relative);
  errors.compare("massive_activation_median", got.median, sorted.select(1, (sorted.size(1) - 1) / 2),
                 ErrorUnit::relative);
}

}  // namespace sinkscope
