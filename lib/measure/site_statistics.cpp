#include "measure/site_statistics.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/full_pass.h"

namespace sinkscope {
namespace {

/// The proxy of weights w with any row sum is |w_ij| / (sum_j |w_ij| + kProxyEpsilon) (docs/metrics.md).
constexpr double kProxyEpsilon = 1e-8;

/// [1, 1, Q] float64: Visibility::visible of every row of a mask by position, made on the device: nothing is copied
/// there.
at::Tensor visible_by_position(const Visibility& visibility, at::Device device) {
  const auto options = at::TensorOptions(at::kDouble).device(device);
  const at::Tensor row = at::arange(visibility.rows(), options).view({1, 1, -1});
  const auto keys = static_cast<double>(visibility.keys()), width = static_cast<double>(visibility.width());
  switch (visibility.kind()) {
    case MaskKind::causal:
      return (row + 1).clamp_max(keys);
    case MaskKind::window:
      return (row + 1).clamp_max(width);
    case MaskKind::chunk:
      return row.remainder(width) + 1;
    default:
      return at::full({1, 1, visibility.rows()}, keys, options);
  }
}

/// [1 or B, 1 or H, Q] float64: 1 / ln(visible keys), 0 where a query sees at most one key.
at::Tensor inverse_log_visible(const SiteBatch& site, const at::Tensor& visible_keys, at::Device device) {
  const at::Tensor visible =
      visible_keys.defined() ? visible_keys.to(device) : visible_by_position(*site.visibility.front().front(), device);
  return at::where(visible > 1, visible.log().reciprocal(), at::zeros({}, visible.options()));
}

/// How far row sums [B, H, Q] are from what they should be. sink_mass [B, H, Q]: what the rows leave to a learned sink,
/// or undefined.
void check_row_sums(SiteBatch& site, const at::Tensor& row_sum, const at::Tensor& sink_mass) {
  if (site.queries == 0) return;
  at::Tensor error = row_sum.to(at::kDouble) - 1;
  if (site.row_sum == "free") error = row_sum - row_sum;  // NaN and infinity are still found
  if (sink_mass.defined()) error = error + sink_mass;
  error = error.abs();
  if (site.is_query.defined())
    error = at::where(site.is_query.to(error.device()), error, at::zeros({}, error.options()));
  site.row_sum_error = error.amax(-1);
  if (!site.column_sum.defined()) return;
  // A row whose own sum is right must also have reached the columns.
  const at::Tensor total = row_sum.sum(-1, false, at::kDouble);
  at::Tensor lost = (site.column_sum.sum(-1, false, at::kDouble) - total).abs() / static_cast<double>(site.queries);
  if (site.row_sum == "free") lost = lost / (1 + total.abs());
  site.row_sum_error = at::maximum(site.row_sum_error, lost);
}

/// entropy [B, H, Q], row_sum and sink_mass as above.
void reduce_rows(SiteBatch& site, const Needs& needs, const at::Tensor& entropy, const at::Tensor& row_sum,
                 const at::Tensor& visible_keys, const at::Tensor& sink_mass) {
  if (needs.entropy) {
    const at::Tensor inverse_log = inverse_log_visible(site, visible_keys, entropy.device());
    at::Tensor wide = entropy.to(at::kDouble);
    // A query that gives all to one key has no entropy; the kernels' rounding would say 1e-7.
    if (site.row_sum == "one") wide = at::where(inverse_log > 0, wide, at::zeros({}, inverse_log.options()));
    site.entropy_sum = wide.sum(-1);
    site.normalised_entropy_sum = (wide * inverse_log).sum(-1);
  }
  check_row_sums(site, row_sum, sink_mass);
}

/// A finite fill value lets a row that sees nothing attend evenly to everything: such a row is no query and adds
/// nothing.
at::Tensor without_hidden_rows(const at::Tensor& mask, const at::Tensor& is_query) {
  if (mask.scalar_type() == at::kBool) return mask;
  return at::where(is_query.unsqueeze(-1), mask, at::full({}, -INFINITY, mask.options()));
}

/// The same where the probabilities are there: weights [B, H, Q, K].
at::Tensor of_queries(const at::Tensor& weights, const at::Tensor& is_query) {
  if (!is_query.defined()) return weights;
  return at::where(is_query.unsqueeze(-1), weights, at::zeros({}, weights.options()));
}

void norms(SiteBatch& site, const AttentionView& view, const Needs& needs) {
  if (needs.key_norms) site.key_norm = first_and_others_norms(view.key);
  if (needs.value_norms) site.value_norm = first_and_others_norms(view.value);
  if (needs.head_output_norms) site.head_output_norm = mean_and_last_norms(view.output, site.is_query);
}

FirstKeysRequest first_keys_request(const SiteBatch& site, const Needs& needs,
                                    const std::optional<at::Tensor>& non_trigger) {
  FirstKeysRequest request;
  request.keys = needs.first_keys;
  request.tail_rows = needs.tail_window;
  request.after_first_k = needs.after_first_k;
  if (non_trigger && non_trigger->size(1) == site.queries) request.selected = *non_trigger;
  return request;
}

void set_mask(SiteBatch& site, const RecognisedMask& mask) {
  site.mask = mask.kind;
  site.mask_width = mask.width;
  site.visibility = mask.visibility;
  site.is_query = mask.is_query;
  site.causal = is_causal(mask);
  site.extra_keys = mask.extra_keys;
}

SiteBatch of_sdpa(const AttentionView& view, const Needs& needs, const std::optional<at::Tensor>& non_trigger,
                  MaskCache& masks) {
  SiteBatch site;
  site.batch = view.query.size(0), site.heads = view.query.size(1), site.queries = view.query.size(2);
  site.kv_heads = view.key.size(1), site.keys = view.key.size(2), site.head_dim = view.query.size(3);
  site.row_sum_tolerance = view.query.element_size() < 4 ? 2e-2 : 1e-3;
  const std::int64_t first_keys = leading_keys(needs);
  const RecognisedMask* mask =
      view.mask ? &masks.recognise(*view.mask, view.score, site.queries, site.keys, first_keys) : nullptr;
  const RecognisedMask seen = mask != nullptr ? *mask : mask_of(view.score, site.queries, site.keys, first_keys);
  set_mask(site, seen);
  site.softcap = view.score.softcap;
  if (view.sink_logit) site.row_sum = "with_sink";
  AttentionCall call = attention_call(view, mask);
  if (call.mask && site.is_query.defined()) call.mask = without_hidden_rows(*call.mask, site.is_query);
  std::string why;
  const bool fused = full_pass_is_fused(call, &why);
  site.measured_by = fused ? "fused" : "blocks";
  if (!fused) site.reason = why;
  if (!call.lse.defined() && (needs.first_keys > 0 || needs.full_pass() || needs.learned_sink))
    call.lse = log_sum_exp(call);
  at::Tensor sink_mass;
  if (call.sink_logit && (needs.full_pass() || needs.learned_sink))
    sink_mass = (call.sink_logit->to(at::kDouble).view({1, -1, 1}) - call.lse).exp_();
  if (needs.first_keys > 0) site.first_keys = first_keys_sums(call, first_keys_request(site, needs, non_trigger));
  if (needs.learned_sink && sink_mass.defined()) site.first_keys.learned_sink_sum = sink_mass.sum(-1);
  if (needs.full_pass()) {
    const FullPass pass = full_pass(call);
    site.column_sum = pass.column_sum.to(at::kFloat);
    reduce_rows(site, needs, pass.entropy, pass.row_sum, seen.visible_keys, sink_mass);
  }
  norms(site, view, needs);
  return site;
}

/// First-key statistics read from the probabilities [B, H, Q, K].
FirstKeysSums first_keys_of(const at::Tensor& weights, const FirstKeysRequest& request) {
  FirstKeysSums sums;
  const std::int64_t rows = weights.size(2), keys = weights.size(3);
  const auto column0 = [&](std::int64_t begin, std::int64_t count) {
    return weights.select(3, 0).narrow(2, begin, count).sum(-1, false, at::kDouble);
  };
  sums.key_sum = weights.narrow(3, 0, std::min(request.keys, keys)).sum(2, false, at::kDouble);
  if (rows == 0 || keys == 0) return sums;
  sums.first_query = weights.select(3, 0).select(2, 0).to(at::kDouble);
  sums.last_query = weights.select(3, 0).select(2, rows - 1).to(at::kDouble);
  const std::int64_t tail = std::min(request.tail_rows, rows);
  if (request.tail_rows > 0) sums.tail_sum = column0(rows - tail, tail);
  if (const std::int64_t k = request.after_first_k; k > 0) {
    const std::int64_t skipped = std::min(k, rows);
    sums.after_first_k_sum =
        weights.narrow(2, skipped, rows - skipped).narrow(3, 0, std::min(k, keys)).sum({2, 3}, false, at::kDouble);
  }
  if (request.selected)
    sums.selected_sum = (weights.select(3, 0).to(at::kDouble) * request.selected->to(at::kDouble).unsqueeze(1)).sum(-1);
  return sums;
}

/// Sum over queries of A[i, 0] / rest[i]; a row that gives key 0 nothing adds nothing. rest [B, H, Q] float64.
at::Tensor renormalised_sum(const at::Tensor& weights, const at::Tensor& rest) {
  if (weights.size(3) == 0) return at::zeros({weights.size(0), weights.size(1)}, rest.options());
  const at::Tensor first = weights.select(3, 0).to(at::kDouble);
  return at::where(first == 0, at::zeros({}, first.options()), first / rest).sum(-1);
}

/// Column sums, entropies and the check of the row sums from the matrix itself, p [B, H, Q, K] float32.
void full_pass_of(SiteBatch& site, const Needs& needs, const at::Tensor& p, const RecognisedMask& mask,
                  const at::Tensor& sink_mass) {
  site.column_sum = p.sum(2, false, at::kDouble).to(at::kFloat);
  reduce_rows(site, needs, at::xlogy(p, p).sum(-1, false, at::kDouble).neg(), p.sum(-1, false, at::kDouble),
              mask.visible_keys, sink_mass);
}

/// Rows of any sum: nothing to hold the sums against, and the proxy beside the weights. p [B, H, Q, K] float32.
void free_rows(SiteBatch& site, const Needs& needs, const at::Tensor& p) {
  site.row_sum = "free";
  if (needs.first_keys == 0) return;
  const at::Tensor magnitude = p.abs(), sums = magnitude.sum({-1}, false, at::kDouble);
  const at::Tensor first = magnitude.narrow(3, 0, std::min(needs.first_keys, site.keys)).to(at::kDouble);
  site.proxy_key_sum = (first / (sums + kProxyEpsilon).unsqueeze(-1)).sum(2);
  site.first_keys.renormalised_sum = renormalised_sum(magnitude, sums);
}

/// Everything that the matrix [B, H, Q, K] itself gives. Its rows are there to be summed, whatever else is asked for.
void from_matrix(SiteBatch& site, const Needs& needs, const at::Tensor& weights, bool probability,
                 const RecognisedMask& mask, const at::Tensor& sink_mass) {
  const at::Tensor p = weights.to(at::kFloat);
  if (!probability) free_rows(site, needs, p);
  if (needs.full_pass())
    full_pass_of(site, needs, p, mask, sink_mass);
  else if (needs.first_keys > 0)
    check_row_sums(site, p.sum(-1, false, at::kDouble), sink_mass);
}

/// Keys and values of windows stand behind each other: the first of each counts as the first, means are over windows.
void window_norms(SiteBatch& site, const AttentionView& view, const Needs& needs) {
  const auto of = [&](const at::Tensor& x) {
    FirstAndOthers norm = first_and_others_norms(x.unflatten(2, {view.windows, -1}).flatten(1, 2));
    for (at::Tensor* values : {&norm.first, &norm.others}) *values = values->unflatten(1, {-1, view.windows}).mean(-1);
    return norm;
  };
  if (needs.key_norms) site.key_norm = of(view.key);
  if (needs.value_norms) site.value_norm = of(view.value);
  if (needs.head_output_norms) site.head_output_norm = mean_and_last_norms(view.output, site.is_query);
}

SiteBatch of_weights(const AttentionView& view, const Needs& needs, const std::optional<at::Tensor>& non_trigger) {
  SiteBatch site;
  site.batch = view.weights.size(0), site.heads = view.weights.size(1), site.queries = view.weights.size(2);
  site.keys = view.weights.size(3), site.windows = view.windows;
  const std::int64_t keys = site.keys * view.windows;
  const bool fits = view.key.dim() == 4 && view.value.dim() == 4 && view.key.size(0) == site.batch &&
                    view.key.size(2) == keys && view.value.size(2) == keys && view.key.size(1) > 0 &&
                    site.heads % view.key.size(1) == 0 && view.output.dim() == 4 &&
                    view.output.sizes().slice(0, 3) == view.weights.sizes().slice(0, 3);
  if (!fits)
    throw InputError(
        fmt::format("attention probabilities of shape {} do not fit keys of shape {}, values of shape {} and an output "
                    "of shape {}. Declare them with sinkscope::attention",
                    fmt::join(view.weights.sizes(), " x "), fmt::join(view.key.sizes(), " x "),
                    fmt::join(view.value.sizes(), " x "), fmt::join(view.output.sizes(), " x ")));
  site.kv_heads = view.key.size(1), site.head_dim = view.key.size(3);
  site.row_sum_tolerance = view.output.element_size() < 4 ? 2e-2 : 1e-3;
  site.measured_by = view.written_out ? "blocks" : "materialised";
  site.reason =
      view.written_out ? "it attends inside windows of the sequence" : "the model builds the attention matrix itself";
  const std::int64_t first_keys = leading_keys(needs);
  const RecognisedMask mask = view.windows > 1
                                  ? recognise_windows(view.scores, view.weights, view.windows, first_keys, site.causal)
                                  : recognise_scores(view.scores, view.weights, first_keys);
  const bool causal = site.causal;
  set_mask(site, mask);
  if (view.windows > 1) site.causal = causal;
  const at::Tensor weights = of_queries(view.weights, site.is_query);
  at::Tensor sink_mass;
  if (view.sink_mass.defined()) {
    site.row_sum = "with_sink";
    sink_mass = view.sink_mass.to(at::kDouble);
    if (site.is_query.defined()) sink_mass = at::where(site.is_query, sink_mass, at::zeros({}, sink_mass.options()));
  }
  if (needs.first_keys > 0) {
    // Queries of windows are not in the order of the sequence.
    const auto selected = view.windows > 1 ? std::nullopt : non_trigger;
    site.first_keys = first_keys_of(weights, first_keys_request(site, needs, selected));
    // Not by one minus the mass of the sink: beside a sink that takes nearly all, that difference is rounding.
    if (sink_mass.defined())
      site.first_keys.renormalised_sum = renormalised_sum(weights, weights.sum(-1, false, at::kDouble));
  }
  if (needs.learned_sink && sink_mass.defined()) site.first_keys.learned_sink_sum = sink_mass.sum(-1);
  from_matrix(site, needs, weights, view.probability, mask, sink_mass);
  if (view.windows > 1)
    window_norms(site, view, needs);
  else
    norms(site, view, needs);
  return site;
}

/// Weights that an author declared. Where rows may have any sum there is also the proxy of docs/metrics.md.
SiteBatch of_marked(const AttentionView& view, const Needs& needs, const std::optional<at::Tensor>& non_trigger) {
  if (view.weights.dim() != 4 || !view.weights.is_floating_point())
    throw InputError(
        fmt::format("marked attention of shape {} and type {}; floating [batch, heads, queries, keys] or [batch, "
                    "queries, keys] is needed",
                    fmt::join(view.weights.sizes(), " x "), c10::toString(view.weights.scalar_type())));
  SiteBatch site;
  site.batch = view.weights.size(0), site.heads = view.weights.size(1), site.queries = view.weights.size(2);
  site.keys = view.weights.size(3);
  site.row_sum_tolerance = view.weights.element_size() < 4 ? 2e-2 : 1e-3;
  site.measured_by = "marked";
  site.reason = "the author declared this tensor as attention";
  const RecognisedMask mask = recognise_weights(view.weights, leading_keys(needs));
  set_mask(site, mask);
  if (needs.first_keys > 0) site.first_keys = first_keys_of(view.weights, first_keys_request(site, needs, non_trigger));
  from_matrix(site, needs, view.weights, view.probability, mask, {});
  return site;
}

}  // namespace

std::int64_t leading_keys(const Needs& needs) {
  return std::max({std::int64_t{1}, needs.first_keys, needs.after_first_k});
}

AttentionCall attention_call(const AttentionView& view, const RecognisedMask* mask) {
  AttentionCall call;
  call.query = view.query;
  call.key = view.key;
  call.lse = view.lse;
  call.key_lse = view.key_lse;
  call.score = view.score;
  call.sink_logit = view.sink_logit;
  if (mask == nullptr) return call;
  if (!mask->exact || mask->kind == MaskKind::other) {
    call.mask = *view.mask;
    return call;
  }
  if (mask->kind == MaskKind::padding) call.key_padding = mask->key_padding.expand({call.query.size(0), -1});
  const MaskKind kind = mask->kind == MaskKind::padding ? mask->by_position : mask->kind;
  call.score.causal = call.score.causal || kind != MaskKind::none;
  if (kind == MaskKind::window) call.score.window = mask->width;
  if (kind == MaskKind::chunk) call.score.chunk = mask->width;
  return call;
}

SiteBatch site_statistics(const AttentionView& view, const Needs& needs, const std::optional<at::Tensor>& non_trigger,
                          MaskCache& masks) {
  if (view.marked()) return of_marked(view, needs, non_trigger);
  return view.materialised() ? of_weights(view, needs, non_trigger) : of_sdpa(view, needs, non_trigger, masks);
}

}  // namespace sinkscope
