#pragma once
// Whether a softmax that is not measured may be attention all the same: a wider search than that of matrix_attention,
// good for a warning and not for a measurement.

#include <torch/csrc/jit/ir/ir.h>

#include <unordered_set>

namespace sinkscope {

/// Whether a product of two activations lies behind `scores` and another one takes what becomes of `probabilities`,
/// each through operators of any kind: maps over the heads, concatenations, gathers, sums. Neither search leaves a
/// block or passes a norm, so that a router or a classifier does not find the attention before or behind it.
bool resembles_attention(torch::jit::Value* scores, torch::jit::Value* probabilities);

/// Whether `node` multiplies two activations of which one is made of another such product, through anything but linear
/// maps, norms and normalisers: attention without a softmax (ReLU, exp over its sum, linear attention, retention).
/// Products in `measured` belong to a site and do not count.
bool resembles_attention_without_softmax(torch::jit::Node* node, const std::unordered_set<torch::jit::Node*>& measured);

}  // namespace sinkscope
