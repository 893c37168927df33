#pragma once
// The score function applied to a tensor of products q . k: what the tiers written in ATen share.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/attention_call.h"

namespace sinkscope {

/// Where a block of the attention matrix lies: [batches, heads, rows, keys] from these indices on.
struct BlockOrigin {
  std::int64_t batch = 0, head = 0, row = 0, key = 0;
};

/// Turns products [b, h, r, k] (q . k, any float dtype) into logits s_ij in place: scale, soft cap, then -inf where the
/// mask, the key padding or the score function hides a key.
void score_in_place(const AttentionCall& call, const BlockOrigin& origin, at::Tensor& products);

/// [rows, keys] bool, true where the score function hides key `key + j` from query `row + i`; undefined where it hides
/// nothing in the block.
at::Tensor hidden_pairs(const ScoreFunction& score, std::int64_t row, std::int64_t rows, std::int64_t key,
                        std::int64_t keys, at::Device device);

/// exp(logits - lse) with 0 for masked keys, whatever the log-sum-exp of a fully masked row (0, +inf or -inf).
///   logits  [b, h, r, k], lse [b, h, r]
at::Tensor probabilities_of(const at::Tensor& logits, const at::Tensor& lse);

/// Adds the learned sink, if there is one, to a log-sum-exp [B, H, Q] over the keys, -inf where no key is seen; rows
/// that still have nothing in their denominator become +inf. May change `lse`.
at::Tensor with_learned_sink(const AttentionCall& call, at::Tensor lse);

}  // namespace sinkscope
