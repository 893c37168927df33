#include "observe/head_layout.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"

namespace sinkscope {
namespace {

[[noreturn]] void refuse(const at::Tensor& x, const InputShape& input, SiteId site) {
  throw InputError(fmt::format(
      "attention site {}: its matrix has shape {}, from which {} sequences and their heads cannot be told apart. "
      "Declare it with sinkscope::attention.",
      index(site), fmt::join(x.sizes(), " x "), input.sequences));
}

/// The shapes of a matrix with its leading dims, and what the input says.
struct Shape {
  const at::Tensor& matrix;
  InputShape input;
  std::int64_t queries, keys;
  /// Heads, merged with the batch or in front of it, see the whole sequence at least on one side; windows do not.
  bool may_be_whole() const { return input.length == 0 || queries == input.length || keys == input.length; }
  bool is_whole() const { return input.length > 0 && may_be_whole(); }
};

/// Whether a matrix of rank 4 is [H, B, ...].
bool are_heads_first(const Shape& shape, HeadOrders* orders, SiteId site) {
  const LeadingDims dims{shape.matrix.size(0), shape.matrix.size(1), shape.input.sequences};
  if (dims.first == 1 && dims.second == 1) return false;
  // [H, 1] of one sequence is the same as merged heads.
  if (dims.sequences == 1 && dims.second == 1 && shape.is_whole() && (orders == nullptr || !orders->is_open(site)))
    return false;
  const bool whole = shape.may_be_whole(), guess = shape.is_whole() && dims.first != dims.sequences;
  std::optional<bool> shown;
  if (dims.second != dims.sequences || !whole)
    shown = false;
  else if (dims.first % dims.sequences != 0)
    shown = true;
  return orders != nullptr ? orders->heads_first(site, dims, shown, guess) : shown.value_or(guess);
}

/// Whether a matrix [B x n, C, ...] of n > 1 entries for a sequence is merged heads with C = 1; else it is windows.
/// They look alike where C = 1, but for what they cover.
bool are_unit_heads(const Shape& shape, SiteId site) {
  const std::int64_t entries = shape.matrix.size(0) / shape.input.sequences, length = shape.input.length;
  if (shape.matrix.size(1) > 1) {
    if (length > 0 && shape.queries == length)
      throw InputError(fmt::format(
          "attention site {}: it attends over {} sequences of the whole length for each of {} that were given, and "
          "nothing says which is whose. Declare it with sinkscope::attention.",
          index(site), entries, shape.input.sequences));
    return false;
  }
  const std::int64_t covered = entries * shape.queries;  // by windows, the last of them perhaps padded
  const bool windows = length > 0 && covered >= length && covered < length + shape.queries;
  if (shape.is_whole() == windows) refuse(shape.matrix, shape.input, site);
  return !windows;
}

/// Whether all query heads of a group share keys, so that dims [B, G, H / G] are groups of heads and no windows.
bool are_groups(const at::Tensor& matrix, const at::Tensor& key) {
  if (matrix.size(1) == 1) return true;
  if (key.dim() == 4) return key.size(1) == matrix.size(1);
  return matrix.size(2) > 1 && key.dim() == 5 && (key.size(2) == 1 || key.stride(2) == 0);
}

/// Reads what stands in front of the matrix dims. Refuses what could be read in several ways.
HeadLayout layout_of(const AttentionView& view, const InputShape& input, HeadOrders* orders, SiteId site) {
  const at::Tensor& matrix = view.rows();
  const Shape shape{matrix, input, matrix.size(-2), view.key.size(-2)};
  const std::int64_t rank = matrix.dim(), sequences = input.sequences, leading = matrix.size(0);
  HeadLayout layout{.sequences = sequences};
  if (sequences <= 0) return layout;
  const bool several = leading != sequences;
  if (rank == 3 && several && (leading % sequences != 0 || !shape.may_be_whole())) refuse(matrix, input, site);
  if (rank == 4) {
    layout.heads_first = are_heads_first(shape, orders, site);
    layout.unit_heads = !layout.heads_first && several && leading % sequences == 0 && are_unit_heads(shape, site);
  }
  if (rank == 5 &&
      (input.length > 0 ? shape.queries != input.length || shape.keys != input.length : !are_groups(matrix, view.key)))
    refuse(matrix, input, site);
  // The order inside a merged dim: of windows or heads in the matrix, or of heads in what stands beside it.
  if (orders == nullptr || layout.heads_first) return layout;
  for (const at::Tensor* x : {&matrix, &view.output, &view.key, &view.value}) {
    const bool merged = x->defined() && x->size(0) != sequences && x->size(0) % sequences == 0 &&
                        (x->dim() == 3 || (x == &matrix && rank == 4));
    if (!merged) continue;
    layout.sequences_inner = orders->sequences_inner(site, *x, sequences);
    break;
  }
  return layout;
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
      return layout.sequences_inner ? y.unflatten(0, {leading / sequences, sequences}).transpose(0, 1)
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

at::Tensor fold_windows(const at::Tensor& x, std::int64_t windows, bool sequences_inner) {
  const std::int64_t sequences = x.size(0) / windows;
  const at::Tensor apart =
      sequences_inner ? x.unflatten(0, {windows, sequences}).transpose(0, 1) : x.unflatten(0, {sequences, windows});
  return apart.transpose(1, 2).flatten(2, 3);
}

void arrange(AttentionView& view, const InputShape& input, HeadOrders* orders, SiteId site) {
  for (at::Tensor* x : {&view.query, &view.weights, &view.scores}) broadcast_leading(*x, view.output, 2);
  broadcast_leading(view.sink_mass, view.output, 1);
  const HeadLayout layout = layout_of(view, input, orders, site);
  const std::int64_t sequences = layout.sequences;
  if (layout.unit_heads) {
    for (at::Tensor* x : {&view.query, &view.key, &view.value, &view.output, &view.weights, &view.scores})
      if (x->defined() && x->dim() == 4) *x = x->squeeze(1);
    for (at::Tensor& part : view.more_keys)
      if (part.dim() == 4) part = part.squeeze(1);
    if (view.mask && view.mask->dim() == 4) view.mask = view.mask->squeeze(1);
    if (view.sink_mass.defined() && view.sink_mass.dim() == 3) view.sink_mass = view.sink_mass.squeeze(1);
  }
  const std::int64_t rank = view.rows().dim();
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

  const std::int64_t batch = view.rows().size(0);
  for (at::Tensor* x : {&view.key, &view.value})  // one memory for all sequences
    if (x->size(0) == 1 && batch > 1) *x = x->expand({batch, -1, -1, -1});
  if (batch == sequences || batch % sequences != 0) return;
  view.windows = batch / sequences;
  if (!view.materialised()) write_out(view, view.key);
  const auto fold = [&](at::Tensor& x) { x = fold_windows(x, view.windows, layout.sequences_inner); };
  for (at::Tensor* x : {&view.key, &view.value, &view.output, &view.weights, &view.scores}) fold(*x);
  if (!view.sink_mass.defined()) return;
  view.sink_mass = view.sink_mass.unsqueeze(-1);
  fold(view.sink_mass);
  view.sink_mass = view.sink_mass.squeeze(-1);
}

}  // namespace sinkscope
