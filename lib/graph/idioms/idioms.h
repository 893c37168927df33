#pragma once
// The graph patterns that are attention, one file each.

#include <optional>
#include <string>
#include <unordered_set>

#include "graph/site.h"

namespace sinkscope::idioms {

/// F.scaled_dot_product_attention.
std::optional<Site> sdpa(torch::jit::Node* node);

/// sinkscope::fused_attention.
std::optional<Site> fused_attention(torch::jit::Node* node);

/// sinkscope::attention: a tensor that its author declares as attention.
std::optional<Site> marked(torch::jit::Node* node);
/// Adds the softmaxes that the weights of a mark are made of, through everything but products: they are the marked
/// site.
void softmaxes_below(torch::jit::Node* mark, std::unordered_set<torch::jit::Node*>& found);

/// Hand-written softmax attention: softmax over the keys of element-wise terms around a product of two activations, and
/// the probabilities multiplied with a value tensor:
///   softmax <- [to] <- add(mask) | masked_fill | where <- mul | div (scale) <- product   =>   [to] -> [dropout] ->
///   product
/// A product is a matmul, bmm, baddbmm or einsum. With or without a learned sink. `reason`, if not null, receives why a
/// softmax is not this.
std::optional<Site> softmax(torch::jit::Node* node, LeftAlone* reason);

/// The scores of the keys inside the input of a softmax, which a learned sink stands beside:
///   softmax <- [to] <- [sub(max)] <- cat(scores, sink logits)   =>   slice -> [dropout] -> [to] -> product
struct LearnedSink {
  torch::jit::Value* scores = nullptr;
};
std::optional<LearnedSink> learned_sink_scores(torch::jit::Value* scores);

/// Sigmoid of a product of two activations, multiplied with a value tensor. `reason`, if not null, receives why one
/// that resembles attention is not this; gates are not worth a word.
std::optional<Site> sigmoid(torch::jit::Node* node, LeftAlone* reason);

/// aten::_native_multi_head_attention and aten::_transformer_encoder_layer_fwd.
std::optional<Site> native(torch::jit::Node* node);

/// What to do instead, for a fused operator that holds attention which cannot be opened; empty for other nodes.
std::string closed(torch::jit::Node* node);

}  // namespace sinkscope::idioms
