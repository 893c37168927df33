#include "measure/recognise_mask.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "kernels/score_tensor.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kRows = 1024;  // rows compared at a time: bounds the temporaries

/// Bool [1 or B, 1 or H, rows, K] of the rows [begin, end).
using VisibleRows = std::function<at::Tensor(std::int64_t begin, std::int64_t end)>;

/// [rows, K] bool of what a query sees by position.
at::Tensor expected_rows(MaskKind kind, std::int64_t width, std::int64_t begin, std::int64_t end, std::int64_t keys,
                         at::Device device) {
  const at::Tensor i = at::arange(begin, end, at::TensorOptions(at::kLong).device(device)).unsqueeze(1);
  const at::Tensor j = at::arange(keys, at::TensorOptions(at::kLong).device(device)).unsqueeze(0);
  at::Tensor visible = kind == MaskKind::none ? (i >= 0).logical_and(j >= 0) : j <= i;
  if (kind == MaskKind::window) visible = visible.logical_and(i - j < width);
  if (kind == MaskKind::chunk)
    visible = visible.logical_and(at::floor_divide(i, at::Scalar(width)) == at::floor_divide(j, at::Scalar(width)));
  return visible;
}

std::shared_ptr<const Visibility> shared(Visibility v) { return std::make_shared<const Visibility>(std::move(v)); }

struct Survey {
  bool full = true, causal_only = true, same = true;
  std::int64_t most = 0;   // largest number of visible keys of a query
  std::int64_t reach = 0;  // with causal_only: largest distance to a visible key, plus one
  at::Tensor counts;       // [b, h, Q]
  at::Tensor seen;         // [b, 1, 1, K] bool: some query sees the key
};

Survey survey(const VisibleRows& rows, std::int64_t queries, std::int64_t keys) {
  Survey result;
  std::vector<at::Tensor> counts;
  for (std::int64_t begin = 0; begin < queries; begin += kRows) {
    const std::int64_t end = std::min(queries, begin + kRows);
    const at::Tensor visible = rows(begin, end);
    const at::Tensor first = visible.narrow(0, 0, 1).narrow(1, 0, 1);
    result.same = result.same && (visible.size(0) * visible.size(1) == 1 || (visible == first).all().item<bool>());
    result.full = result.full && visible.all().item<bool>();
    const at::Tensor causal = expected_rows(MaskKind::causal, 0, begin, end, keys, visible.device());
    result.causal_only = result.causal_only && !visible.logical_and(causal.logical_not()).any().item<bool>();
    counts.push_back(visible.sum(-1));
    const at::Tensor keys_seen = visible.any(2, true).any(1, true);
    result.seen = result.seen.defined() ? result.seen.logical_or(keys_seen) : keys_seen;
    if (result.causal_only && keys > 0) {  // argmax of equal values: the first
      const at::Tensor row = at::arange(begin, end, counts.back().options()),
                       first_seen = visible.to(at::kByte).argmax(-1);
      const at::Tensor reach = at::where(counts.back() > 0, row - first_seen + 1, at::zeros({}, first_seen.options()));
      result.reach = std::max(result.reach, reach.max().item<std::int64_t>());
    }
  }
  result.counts = counts.empty() ? at::zeros({1, 1, 0}, at::kLong) : at::cat(counts, 2);
  result.most = result.counts.numel() == 0 ? 0 : result.counts.max().item<std::int64_t>();
  return result;
}

/// `seen` [b, 1, 1, K]: keys that are no padding; undefined: all.
bool matches(const VisibleRows& rows, MaskKind kind, std::int64_t width, std::int64_t queries, std::int64_t keys,
             const at::Tensor& seen = {}) {
  for (std::int64_t begin = 0; begin < queries; begin += kRows) {
    const std::int64_t end = std::min(queries, begin + kRows);
    const at::Tensor visible = rows(begin, end);
    at::Tensor expected = expected_rows(kind, width, begin, end, keys, visible.device());
    if (seen.defined()) expected = expected.logical_and(seen);
    if (!(visible == expected).all().item<bool>()) return false;
  }
  return true;
}

/// More keys than queries: those at one end that every query sees, where no query sees a later token among the others.
std::optional<ExtraKeys> find_extra_keys(const VisibleRows& rows, std::int64_t queries, std::int64_t keys) {
  const std::int64_t surplus = keys - queries;
  if (surplus <= 0 || queries < 2) return std::nullopt;
  bool before = true, behind = true;
  for (std::int64_t begin = 0; begin < queries && (before || behind); begin += kRows) {
    const std::int64_t end = std::min(queries, begin + kRows);
    const at::Tensor visible = rows(begin, end);
    const at::Tensor later = expected_rows(MaskKind::causal, 0, begin, end, queries, visible.device()).logical_not();
    const auto fits = [&](std::int64_t extra, std::int64_t tokens) {
      return visible.narrow(3, extra, surplus).all().item<bool>() &&
             !visible.narrow(3, tokens, queries).logical_and(later).any().item<bool>();
    };
    before = before && fits(0, surplus);
    behind = behind && fits(queries, 0);
  }
  if (before) return ExtraKeys{.before = surplus, .behind = 0};
  if (behind) return ExtraKeys{.before = 0, .behind = surplus};
  return std::nullopt;
}

/// Finds the mask by position below keys that no query of a sequence sees.
void recognise_padding(const VisibleRows& rows, std::int64_t queries, std::int64_t keys, const Survey& survey,
                       RecognisedMask& mask) {
  std::vector<MaskKind> kinds{MaskKind::none};
  if (survey.causal_only && survey.most > 0 && queries == keys)
    kinds.insert(kinds.end(), {MaskKind::causal, MaskKind::window, MaskKind::chunk});
  for (const MaskKind kind : kinds) {
    if (queries == 0 || !matches(rows, kind, survey.reach, queries, keys, survey.seen)) continue;
    mask.kind = MaskKind::padding;
    mask.by_position = kind;
    mask.width = kind == MaskKind::window || kind == MaskKind::chunk ? survey.reach : 0;
    mask.key_padding = survey.seen.flatten(1);
    return;
  }
}

RecognisedMask recognise(const VisibleRows& rows, std::int64_t queries, std::int64_t keys, std::int64_t first_keys) {
  RecognisedMask mask;
  if (queries == keys && queries > 0 && matches(rows, MaskKind::causal, 0, queries, keys)) {  // the usual one
    mask.kind = MaskKind::causal;
    mask.visibility = {{shared(Visibility::causal(queries, keys))}};
    return mask;
  }
  const Survey seen = survey(rows, queries, keys);
  if (seen.full && (queries > 1 || keys > 1)) {
    mask.kind = MaskKind::none;
    mask.visibility = {{shared(Visibility::full(queries, keys))}};
    return mask;
  }
  if (seen.same && seen.causal_only && seen.most > 0 && queries == keys) {
    for (const MaskKind kind : {MaskKind::window, MaskKind::chunk}) {
      if (!matches(rows, kind, seen.most, queries, keys)) continue;
      mask.kind = kind;
      mask.width = seen.most;
      mask.visibility = {{shared(kind == MaskKind::window ? Visibility::window(queries, seen.most)
                                                          : Visibility::chunk(queries, seen.most))}};
      return mask;
    }
  }
  recognise_padding(rows, queries, keys, seen, mask);
  mask.visible_keys = seen.counts.to(at::kDouble);
  if (const at::Tensor is_query = seen.counts > 0; !is_query.all().item<bool>()) mask.is_query = is_query;
  const std::optional<ExtraKeys> extra = find_extra_keys(rows, queries, keys);
  mask.extra_keys = extra.value_or(ExtraKeys{});
  const std::int64_t leading = std::min(first_keys, keys);
  std::vector<at::Tensor> leading_seen;
  for (std::int64_t begin = 0; begin < queries; begin += kRows)
    leading_seen.push_back(rows(begin, std::min(queries, begin + kRows)).narrow(3, 0, leading));
  const at::Tensor first_seen = at::cat(leading_seen, 2).to(at::kCPU, at::kByte).contiguous();
  const at::Tensor counts = seen.counts.to(at::kCPU).contiguous();
  const auto values = [](const at::Tensor& x, auto type) {
    const auto* data = x.const_data_ptr<decltype(type)>();
    return std::vector<decltype(type)>(data, data + x.numel());
  };
  for (std::int64_t b = 0; b < counts.size(0); ++b) {
    const bool alike =
        (counts[b] == counts[b][0]).all().item<bool>() && (first_seen[b] == first_seen[b][0]).all().item<bool>();
    HeadMasks heads;
    for (std::int64_t h = 0; h < (alike ? 1 : counts.size(1)); ++h)
      heads.push_back(
          shared(Visibility::other(mask.kind, keys, seen.causal_only || extra, values(counts[b][h], std::int64_t{}),
                                   leading, values(first_seen[b][h], std::uint8_t{}), mask.extra_keys)));
    mask.visibility.push_back(std::move(heads));
  }
  return mask;
}

/// The same mask as one of no order: alpha divides by all queries.
Visibility listed(const Visibility& mask, std::int64_t first_keys) {
  std::vector<std::int64_t> counts;
  std::vector<std::uint8_t> seen;
  const std::int64_t leading = std::min(first_keys, mask.keys());
  for (std::int64_t i = 0; i < mask.rows(); ++i) {
    counts.push_back(mask.visible(i));
    for (std::int64_t k = 0; k < leading; ++k) seen.push_back(mask.sees(i, k) ? 1 : 0);
  }
  return Visibility::other(MaskKind::other, mask.keys(), false, std::move(counts), leading, std::move(seen));
}

/// [1 or B, 1 or H, Q or 1, K or 1]: leading dims added, expanded ones (stride 0) kept once.
at::Tensor compact(at::Tensor mask) {
  while (mask.dim() < 4) mask = mask.unsqueeze(0);
  for (std::int64_t dim = 0; dim < 2; ++dim)
    if (mask.size(dim) > 1 && mask.stride(dim) == 0) mask = mask.narrow(dim, 0, 1);
  return mask;
}

}  // namespace

bool is_causal(const RecognisedMask& mask) {
  for (const HeadMasks& heads : mask.visibility)
    for (const auto& visibility : heads)
      if (!visibility->is_causal()) return false;
  return true;
}

RecognisedMask recognise_mask(const at::Tensor& mask, std::int64_t queries, std::int64_t keys, std::int64_t first_keys,
                              const ScoreFunction& score) {
  const at::Tensor small = compact(mask);
  const at::Tensor whole = small.expand({small.size(0), small.size(1), queries, keys});
  const bool is_bool = mask.scalar_type() == at::kBool;
  const auto visible = [&](std::int64_t begin, std::int64_t end) {
    const at::Tensor rows = whole.narrow(2, begin, end - begin);
    const at::Tensor shown = is_bool ? rows : rows > kMaskedBelow;
    const at::Tensor hidden = hidden_pairs(score, begin, end - begin, 0, keys, mask.device());
    return hidden.defined() ? shown.logical_and(hidden.logical_not()) : shown;
  };
  RecognisedMask result = recognise(visible, queries, keys, first_keys);
  result.exact = true;
  for (std::int64_t begin = 0; !is_bool && result.exact && begin < queries; begin += kRows) {
    const std::int64_t end = std::min(queries, begin + kRows);
    result.exact = !visible(begin, end).logical_and(whole.narrow(2, begin, end - begin) != 0).any().item<bool>();
  }
  return result;
}

RecognisedMask recognise_scores(const at::Tensor& scores, const at::Tensor& weights, std::int64_t first_keys) {
  const double lowest =
      scores.scalar_type() == at::kHalf ? -65504.0 : static_cast<double>(std::numeric_limits<float>::lowest());
  return recognise(
      [&](std::int64_t begin, std::int64_t end) {
        const at::Tensor s = scores.narrow(2, begin, end - begin);
        const at::Tensor p = weights.narrow(2, begin, end - begin);
        const at::Tensor hidden = (s <= lowest / 2).logical_or((s <= kMaskedBelow).logical_and(p == 0));
        if (weights.size(2) != weights.size(3)) return hidden.logical_not();
        // A NaN says nothing about the mask; its row is rejected anyway and must not pass for one that sees later keys.
        const at::Tensor causal = expected_rows(MaskKind::causal, 0, begin, end, weights.size(3), s.device());
        return hidden.logical_or(p.isnan().logical_and(causal.logical_not())).logical_not();
      },
      weights.size(2), weights.size(3), first_keys);
}

RecognisedMask recognise_windows(const at::Tensor& scores, const at::Tensor& weights, std::int64_t windows,
                                 std::int64_t first_keys, bool& causal) {
  const auto one_by_one = [&](const at::Tensor& x) {
    return x.unflatten(2, {windows, -1}).transpose(1, 2).flatten(0, 1);
  };
  const RecognisedMask each = recognise_scores(one_by_one(scores), one_by_one(weights), 0);
  causal = is_causal(each);
  RecognisedMask all = recognise_scores(scores, weights, first_keys);
  all.kind = each.kind, all.width = each.width;
  // Behind each other, the queries of later windows look as if they saw earlier keys only.
  for (HeadMasks& heads : all.visibility)
    for (auto& visibility : heads)
      if (visibility->is_causal()) visibility = shared(listed(*visibility, first_keys));
  return all;
}

RecognisedMask recognise_weights(const at::Tensor& weights, std::int64_t first_keys) {
  return recognise(
      [&](std::int64_t begin, std::int64_t end) {
        return (weights.narrow(2, begin, end - begin) != 0).any(1, true).any(0, true);
      },
      weights.size(2), weights.size(3), first_keys);
}

RecognisedMask mask_of(const ScoreFunction& score, std::int64_t queries, std::int64_t keys, std::int64_t first_keys) {
  RecognisedMask mask;
  mask.exact = true;
  const bool window = score.window > 0, chunk = score.chunk > 0;
  if (!window || !chunk) {
    mask.kind = !score.causal ? MaskKind::none : window ? MaskKind::window : chunk ? MaskKind::chunk : MaskKind::causal;
    mask.width = window ? score.window : score.chunk;
    mask.visibility = {{shared(!score.causal ? Visibility::full(queries, keys)
                               : window      ? Visibility::window(queries, score.window)
                               : chunk       ? Visibility::chunk(queries, score.chunk)
                                             : Visibility::causal(queries, keys))}};
    return mask;
  }
  const std::int64_t leading = std::min(first_keys, keys);
  std::vector<std::int64_t> counts;
  std::vector<std::uint8_t> seen;
  for (std::int64_t i = 0; i < queries; ++i) {
    counts.push_back(score.end_key(i, keys) - score.first_key(i));
    for (std::int64_t k = 0; k < leading; ++k) seen.push_back(score.visible(i, k, keys) ? 1 : 0);
  }
  mask.kind = MaskKind::other;
  mask.visible_keys = at::tensor(counts, at::kDouble).view({1, 1, queries});
  mask.visibility = {
      {shared(Visibility::other(MaskKind::other, keys, true, std::move(counts), leading, std::move(seen)))}};
  return mask;
}

}  // namespace sinkscope
