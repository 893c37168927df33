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
/// call, argument), its tensor results through sinkscope::block_output(x, call, element): markers that survive inlining
/// and are resolved by insert_taps. Of a module that is never called itself, such as a list of the parts of a layer, it
/// is the calls of its parts, one after the other, up to the first part that comes again.
struct ModuleCall {
  std::string path;       ///< as called_as
  bool of_parts = false;  ///< the module itself is never called
};

/// A private copy of forward: no calls left, every node knows its module (module_of, called_as).
struct FlatGraph {
  std::shared_ptr<torch::jit::Graph> graph;  ///< first input: the module object
  std::vector<ModuleCall> calls;             ///< indexed by the call number of the markers
};

/// Inlines every method and function call and folds the settings of the modules (fold_settings). `marked`: module
/// paths, as called_as, whose calls get markers (empty: none). Throws InputError if a call cannot be resolved
/// (interface types).
FlatGraph inline_with_paths(const torch::jit::Module& module, const std::set<std::string>& marked = {});

}  // namespace sinkscope
