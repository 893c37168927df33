#pragma once
// What queries may see, taken from the mask itself: the divisors and uniform values of the metrics rest on it.

#include "kernels/attention_call.h"
#include "measure/site_statistics.h"
#include "measure/verify_statistics.h"

namespace sinkscope {

/// [1 or B, 1 or H, Q] int64: keys that every query sees, pair by pair from the mask and the score function.
at::Tensor count_visible(const AttentionCall& call);

/// The Visibility of every sequence, head and query against count_visible.
void compare_visibility(const SiteBatch& site, const at::Tensor& visible, ErrorTable& errors);

/// `entropy` [B, H, Q] float64, `visible` of count_visible on the same device. Rows that see at most one key add
/// nothing.
void compare_normalised_entropy(const SiteBatch& site, const at::Tensor& entropy, const at::Tensor& visible,
                                ErrorTable& errors);

}  // namespace sinkscope
