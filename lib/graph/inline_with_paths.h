#pragma once
// Inlines the forward graph of a TorchScript module and keeps the module paths that the stock inliner loses.

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace sinkscope {

/// One call of a module whose path was asked for. Its tensor arguments pass through nodes sinkscope::block_input(x,
/// call, argument), its tensor results through sinkscope::block_output(x, call): markers that survive inlining and are
/// resolved by insert_taps.
struct ModuleCall {
  std::string path;
  std::int64_t ordinal = 0;  ///< 0, 1, ... among the calls of this path (tied modules)
};

/// A private copy of forward: no calls left, every node's scopeName() is its module path ("" for the root).
struct FlatGraph {
  std::shared_ptr<torch::jit::Graph> graph;  ///< first input: the module object
  std::vector<ModuleCall> calls;             ///< indexed by the call number of the markers
};

/// Inlines every method and function call and folds the settings of the modules (fold_settings). `marked`: module paths whose calls get markers (empty: none).
/// Throws InputError if a call cannot be resolved (interface types).
FlatGraph inline_with_paths(const torch::jit::Module& module, const std::set<std::string>& marked = {});

}  // namespace sinkscope
