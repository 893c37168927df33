#pragma once
// Brings the tensors of an attention call to [B, H, rows, columns], however the model laid them out.

#include <ATen/core/Tensor.h>

#include "observe/attention_view.h"
#include "observe/head_order.h"

namespace sinkscope {

/// The model's first input.
struct InputShape {
  std::int64_t sequences = 0;  ///< its first dim; 0: unknown
  std::int64_t length = 0;     ///< T of token ids [B, T]; 0 for other inputs
};

/// How a call lays out what stands in front of the matrix dims.
struct HeadLayout {
  std::int64_t sequences = 0;    ///< B of the run; 0: unknown, leading dims are taken as they are
  bool heads_first = false;      ///< rank 4 is [H, B, ...]
  bool unit_heads = false;       ///< rank 4 is [B x H, 1, ...]: heads merged, in front of a dim of one
  bool sequences_inner = false;  ///< a merged dim, of heads or windows, is [n x B] instead of [B x n]
};

/// [..., rows, columns] with these two dims (from the end) anywhere -> [B, H, rows, columns]:
///   rank 2: one sequence, one head; rank 3: [B, ...] one head, or B and H merged; rank 4: [B, H, ...], [H, B, ...] or
///   [B x H, 1, ...]; rank 5: [B, G, heads of a group, ...].
/// Throws InputError for another rank.
at::Tensor to_heads(const at::Tensor& x, std::int64_t rows, std::int64_t columns, const HeadLayout& layout);

/// Windows that a model cut out of its sequences and stacked along the batch, [B x W, H, n, m] (`sequences_inner`:
/// [W x B, H, n, m]) -> [B, H, W x n, m].
at::Tensor fold_windows(const at::Tensor& x, std::int64_t windows, bool sequences_inner = false);

/// Brings a view whose tensors are of any rank, matrix dims last, to the shapes that AttentionView says: leading dims
/// split into B and H, windows folded (a fused call is then written out as a matrix), heads that a product broadcast
/// written out, parts of keys joined. Of keys and values the side with fewer heads is repeated to the count of the
/// other. Throws InputError for shapes that cannot be told apart, for copies of whole sequences stacked along the batch
/// and for counts of heads that do not divide. `orders`: what other runs have shown of `site`; without it a single run
/// decides as well as it can.
void arrange(AttentionView& view, const InputShape& input, HeadOrders* orders = nullptr, SiteId site = {});

}  // namespace sinkscope
