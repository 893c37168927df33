#pragma once
// Resolves what is decided before a scripted model runs.

#include <torch/csrc/jit/api/module.h>

#include <memory>

namespace sinkscope {

/// Replaces numbers, flags and strings that are attributes of `root` by their values (`training`, `heads`), and takes
/// the branches that they and other constants decide, such as `dtype is None` inside a scripted F.softmax. Attributes
/// that the graph itself writes stay. No tensor is folded, so what the graph computes stays the same bit for bit.
void fold_settings(std::shared_ptr<torch::jit::Graph>& graph, const torch::jit::Module& root);

}  // namespace sinkscope
