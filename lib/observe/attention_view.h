#pragma once
// What a site hands over when it runs: the tensors of one batch, before any statistic is taken.

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

#include "kernels/score_function.h"

namespace sinkscope {

/// B sequences, H query heads, G KV heads, Q queries, K keys, D head dim. Tensors are the model's own: read, never
/// written, and not after the callback that the view is for. Undefined where a form of attention does not have them.
struct AttentionView {
  /// [B, G, K, D], after RoPE and QK-norm, before any repetition of KV heads. Where the model has more heads of keys
  /// than of values or the other way round, the fewer are repeated: G is the larger count.
  at::Tensor key;
  at::Tensor value;                   ///< [B, G, K, Dv]
  std::vector<at::Tensor> more_keys;  ///< parts of the keys behind `key` along D; arrange() joins them to it
  at::Tensor output;                  ///< [B, H, Q, Dv]: A V, before the output projection

  // Scaled dot-product attention, sinkscope::fused_attention: the matrix does not exist.
  at::Tensor query;                      ///< [B, H, Q, D]
  std::optional<at::Tensor> mask;        ///< bool (true: visible) or additive
  ScoreFunction score;                   ///< what makes logits of q . k, besides `mask`
  std::optional<at::Tensor> sink_logit;  ///< [H] learned sinks
  at::Tensor key_lse;  ///< [B, H, Q] the same of the keys alone; only where there is a sink, undefined if not known
  at::Tensor lse;  ///< [B, H, Q] from the forward operator itself, sinks included; undefined if the backend gave none
  std::function<void()> forward;  ///< runs the site's attention once more, on the tensors that the model gave it

  // Materialised attention.
  at::Tensor weights;    ///< [B, H, Q, K] output of the softmax
  at::Tensor scores;     ///< [B, H, Q, K] input of the softmax: masked entries are -inf or the lowest finite value
  at::Tensor sink_mass;  ///< [B, H, Q] float32: what the softmax gave to a learned sink; undefined without one

  /// Attention inside windows of a sequence: their queries stand behind each other in Q, their keys and values in K of
  /// `key` and `value` ([B, G, windows x K, D]); K of `weights` counts the keys of one window.
  std::int64_t windows = 1;
  bool written_out = false;  ///< `weights` and `scores` were computed here from a fused call

  // Marked attention: `weights` alone, as the author declared them.
  bool probability = true;  ///< rows sum to one; false: weights of any sum and sign

  bool materialised() const { return weights.defined() && scores.defined(); }
  bool marked() const { return weights.defined() && !scores.defined(); }
  /// [B, H, Q, ...]: a tensor that every form has.
  const at::Tensor& rows() const { return weights.defined() ? weights : query; }
};

}  // namespace sinkscope
