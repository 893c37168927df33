#pragma once
// Recognises what a materialised mask lets every query see.

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "kernels/score_function.h"
#include "metric/visibility.h"

namespace sinkscope {

/// What the heads of a sequence may see: one for all heads, or one each.
using HeadMasks = std::vector<std::shared_ptr<const Visibility>>;

struct RecognisedMask {
  /// none, causal, window, chunk; padding: one of these without some keys of a sequence; other: nothing fits.
  MaskKind kind = MaskKind::other;
  MaskKind by_position = MaskKind::other;  ///< below a padding: what remains where no key is padding
  std::int64_t width = 0;                  ///< of a window or chunk
  at::Tensor key_padding;                  ///< [1 or B, K] bool, true: visible; undefined unless kind is padding
  /// Only visibility: 0 at every visible pair, so the score function replaces the mask.
  bool exact = false;
  std::vector<HeadMasks> visibility;  ///< one for all sequences, or one per sequence where they differ
  ExtraKeys extra_keys;               ///< keys that are no tokens; only where they show, besides a causal mask
  /// [1 or B, 1 or H, Q] float64: keys that each query sees; undefined where `kind` says it all.
  at::Tensor visible_keys;
  /// [1 or B, 1 or H, Q] bool: false for rows that see no key and so are no queries; undefined where all are.
  at::Tensor is_query;
};

/// No query of any sequence and head sees a later token.
bool is_causal(const RecognisedMask& mask);

/// The lowest additive value that is no mask: finite biases (ALiBi, relative positions) stay above it, every fill value
/// that is used for masking (-1e4, -1e9, the lowest finite value, -inf) lies below.
inline constexpr double kMaskedBelow = -9000;

/// mask: bool (true: visible) or additive, broadcastable to [B, H, queries, keys]; a pair is visible where `score` does
/// not hide it either. Compared exactly, block by block. `first_keys`: for how many leading keys Visibility::sees is
/// needed.
RecognisedMask recognise_mask(const at::Tensor& mask, std::int64_t queries, std::int64_t keys, std::int64_t first_keys,
                              const ScoreFunction& score = {});

/// Where a model built the matrix itself: a pair is masked if its score is below any finite one, or if its score lies
/// under kMaskedBelow and its probability is exactly 0. scores, weights: [B, H, Q, K].
RecognisedMask recognise_scores(const at::Tensor& scores, const at::Tensor& weights, std::int64_t first_keys);

/// Of attention inside windows of a sequence, whose queries stand behind each other: scores, weights [B, H, W x n, K].
/// `kind` is that of a window; alpha_k divides by all queries. `causal`: no window has a query that sees a later key.
RecognisedMask recognise_windows(const at::Tensor& scores, const at::Tensor& weights, std::int64_t windows,
                                 std::int64_t first_keys, bool& causal);

/// Of weights [B, H, Q, K] that an author declared: a key is visible to a query if any sequence or head gives it
/// weight.
RecognisedMask recognise_weights(const at::Tensor& weights, std::int64_t first_keys);

/// What a score function lets `length` queries see of as many keys: as declared, also where the sequence is too short
/// to show a window or a chunk. Not causal: `keys` keys, all visible.
RecognisedMask mask_of(const ScoreFunction& score, std::int64_t queries, std::int64_t keys, std::int64_t first_keys);

}  // namespace sinkscope
