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

/// Hand-written softmax attention: softmax over the last dim of element-wise terms around a product of two activations,
/// and the probabilities multiplied with a value tensor:
///   softmax <- [to] <- add(mask) | masked_fill | where <- mul | div (scale) <- matmul    =>   [to] -> [dropout] ->
///   matmul
/// `reason`, if not null, receives why a softmax is not this.
std::optional<Site> softmax(torch::jit::Node* node, LeftAlone* reason);

/// Name of a fused operator that holds attention which cannot be observed from outside; empty for other nodes.
std::string closed(torch::jit::Node* node);

}  // namespace sinkscope::idioms
