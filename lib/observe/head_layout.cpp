#include "observe/head_layout.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"

namespace sinkscope {
namespace {

[[noreturn]] void refuse(const at::Tensor& x, const InputShape& input) {
  throw InputError(fmt::format(
      "its matrix has shape {}, from which {} sequences and their heads cannot be told apart. Declare it with "
      "sinkscope::attention.",
      fmt::join(x.sizes(), " x "), input.sequences));
}

/// Whether a matrix of rank 4 is [H, B, ...]. Windows [B x W, H, ...] do not see the `whole` sequence, where its length
/// is known; heads in front of the batch do, on one side at least.
bool are_heads_first(const at::Tensor& matrix, const InputShape& input, bool whole, HeadOrders* orders, SiteId site) {
  const LeadingDims dims{matrix.size(0), matrix.size(1), input.sequences};
  if (dims.first == 1 && dims.second == 1) return false;
  const bool guess = whole && input.length > 0 && dims.first != dims.sequences;
  std::optional<bool> shown;
  if (dims.second != dims.sequences || !whole)
    shown = false;
  else if (dims.first % dims.sequences != 0)
    shown = true;
  return orders != nullptr ? orders->heads_first(site, dims, shown, guess) : shown.value_or(guess);
}

/// The matrix of a fused call over windows: small, so it is written out.
void write_out(AttentionView& view, const at::Tensor& key) {
  const at::Tensor q = view.query.to(at::kFloat), k = key.to(at::kFloat);
  const std::int64_t group = q.size(1) / k.size(1);
  at::Tensor scores = at::matmul(q, k.repeat_interleave(group, 1).transpose(-1, -2)) * view.score.scale;
  constexpr double kHidden = -std::numeric_limits<double>::infinity();
  if (view.score.causal)
    scores = scores.masked_fill(at::ones({scores.size(2), scores.size(3)}, scores.options().dtype(at::kBool)).triu(1),
                                kHidden);
  if (view.mask)
    scores = view.mask->scalar_type() == at::kBool ? scores.masked_fill(view.mask->logical_not(), kHidden)
                                                   : scores + *view.mask;
  view.scores = scores;
  view.weights = at::softmax(scores, -1);
  view.written_out = true;
  view.query = at::Tensor();
  view.mask.reset();
  view.lse = at::Tensor();
}

/// What a product broadcasts is written out: leading dims of one become those of `like`, in front of the matrix dims.
void broadcast_leading(at::Tensor& x, const at::Tensor& like, std::int64_t matrix_dims) {
  if (!x.defined() || !like.defined() || x.dim() - matrix_dims != like.dim() - 2) return;
  std::vector<std::int64_t> sizes = x.sizes().vec();
  for (std::int64_t dim = 0; dim < like.dim() - 2; ++dim) {
    const auto at = static_cast<std::size_t>(dim);
    if (sizes[at] != like.size(dim) && sizes[at] != 1) return;
    sizes[at] = like.size(dim);
  }
  x = x.expand(sizes);
}

/// [B, G, K, D] with every head repeated for as many of `heads`; a single sequence for all of `batch`.
at::Tensor repeated(const at::Tensor& x, std::int64_t batch, std::int64_t heads) {
  const at::Tensor all = x.size(0) == 1 && batch > 1 ? x.expand({batch, -1, -1, -1}) : x;
  if (all.size(1) == heads) return all;
  if (all.size(1) == 0 || heads % all.size(1) != 0)
    throw InputError(
        fmt::format("it has {} heads of keys and {} of values, or parts of keys: neither count is a multiple of "
                    "the other",
                    heads, all.size(1)));
  return all.size(1) == 1 ? all.expand({-1, heads, -1, -1}) : all.repeat_interleave(heads / all.size(1), 1);
}

/// Keys of one piece, and as many heads of keys as of values.
void match_keys(AttentionView& view) {
  if (!view.key.defined() || !view.value.defined() || view.key.dim() != 4 || view.value.dim() != 4) return;
  std::int64_t batch = view.key.size(0), heads = view.key.size(1);
  for (const at::Tensor& part : view.more_keys)
    batch = std::max(batch, part.size(0)), heads = std::max(heads, part.size(1));
  if (!view.more_keys.empty()) {
    std::vector<at::Tensor> parts{repeated(view.key, batch, heads)};
    for (const at::Tensor& part : view.more_keys) parts.push_back(repeated(part, batch, heads));
    view.key = at::cat(parts, -1);
    view.more_keys.clear();
  }
  heads = std::max(heads, view.value.size(1));
  view.key = repeated(view.key, view.key.size(0), heads);
  view.value = repeated(view.value, view.value.size(0), heads);
}

}  // namespace

at::Tensor to_heads(const at::Tensor& x, std::int64_t rows, std::int64_t columns, const HeadLayout& layout) {
  at::Tensor y = x.movedim({rows, columns}, {-2, -1});
  if (y.dim() == 2) y = y.unsqueeze(0);
  const std::int64_t leading = y.size(0), sequences = layout.sequences;
  switch (y.dim()) {
    case 3:
      if (sequences <= 0 || leading == sequences || leading % sequences != 0) return y.unsqueeze(1);
      return layout.merged_heads_first ? y.unflatten(0, {leading / sequences, sequences}).transpose(0, 1)
                                       : y.unflatten(0, {sequences, leading / sequences});
    case 4:
      return layout.heads_first ? y.transpose(0, 1) : y;
    case 5:
      return y.flatten(1, 2);
    default:
      throw InputError(
          fmt::format("attention on tensors of rank {}; [batch, heads, queries, keys] is needed", x.dim()));
  }
}

at::Tensor fold_windows(const at::Tensor& x, std::int64_t windows) {
  return x.unflatten(0, {x.size(0) / windows, windows}).transpose(1, 2).flatten(2, 3);
}

void arrange(AttentionView& view, const InputShape& input, bool merged_heads_first, HeadOrders* orders, SiteId site) {
  for (at::Tensor* x : {&view.query, &view.weights, &view.scores}) broadcast_leading(*x, view.output, 2);
  broadcast_leading(view.sink_mass, view.output, 1);
  const at::Tensor& matrix = view.materialised() ? view.weights : view.query;
  const std::int64_t rank = matrix.dim(), sequences = input.sequences, leading = matrix.size(0);
  const std::int64_t queries = matrix.size(-2), keys = view.key.size(-2);
  // Heads, merged with the batch or in front of it, see the whole sequence at least on one side; windows do not.
  const bool whole = input.length == 0 || queries == input.length || keys == input.length;
  HeadLayout layout{sequences, false, merged_heads_first};
  if (rank == 3 && sequences > 0 && leading != sequences && (leading % sequences != 0 || !whole)) refuse(matrix, input);
  layout.heads_first = rank == 4 && sequences > 0 && are_heads_first(matrix, input, whole, orders, site);
  if (rank == 5 && input.length > 0 && (queries != input.length || keys != input.length)) refuse(matrix, input);

  if (view.mask && view.mask->dim() >= 3)
    view.mask = view.mask->dim() == rank ? to_heads(*view.mask, -2, -1, layout) : view.mask->unsqueeze(0);
  for (at::Tensor* x : {&view.query, &view.key, &view.value, &view.output, &view.weights, &view.scores})
    if (x->defined()) *x = to_heads(*x, -2, -1, layout);
  for (at::Tensor& part : view.more_keys) part = to_heads(part, -2, -1, layout);
  match_keys(view);
  if (view.sink_mass.defined()) view.sink_mass = to_heads(view.sink_mass.unsqueeze(-1), -2, -1, layout).squeeze(-1);
  if (rank != 4) view.lse = at::Tensor();
  if (layout.heads_first && view.lse.defined()) view.lse = view.lse.transpose(0, 1).contiguous();
  if (sequences <= 0) return;

  const std::int64_t batch = (view.materialised() ? view.weights : view.query).size(0);
  for (at::Tensor* x : {&view.key, &view.value})  // one memory for all sequences
    if (x->size(0) == 1 && batch > 1) *x = x->expand({batch, -1, -1, -1});
  if (batch == sequences || batch % sequences != 0) return;
  view.windows = batch / sequences;
  if (!view.materialised()) write_out(view, view.key);
  for (at::Tensor* x : {&view.key, &view.value, &view.output, &view.weights, &view.scores})
    *x = fold_windows(*x, view.windows);
  if (view.sink_mass.defined()) view.sink_mass = fold_windows(view.sink_mass.unsqueeze(-1), view.windows).squeeze(-1);
}

}  // namespace sinkscope
