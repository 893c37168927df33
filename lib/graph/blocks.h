#pragma once
// Which module is a site's block, and which values are the residual stream at its boundaries.

#include <torch/csrc/jit/api/module.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graph/find_attention.h"
#include "graph/inline_with_paths.h"

namespace sinkscope {

/// Paths of the lists whose elements hold sites but run side by side, none on the result of another: heads of one
/// attention, branches. Their elements are no blocks.
std::set<std::string> parallel_lists(const std::vector<Site>& sites);

/// Module path of the block of every site path: the element of the deepest ModuleList whose every element contains a
/// site and that is not `parallel`, else the outermost indexed ancestor, else the module that holds the site ("" for
/// the root).
std::map<std::string, std::string> find_blocks(const torch::jit::Module& module,
                                               const std::set<std::string>& site_paths,
                                               const std::set<std::string>& parallel = {});

/// Whether a path is that of an element of a list: its last name is a number.
bool is_list_element(const std::string& path);

/// A tap point: the marker whose value is the residual stream there.
struct StreamPoint {
  StreamInfo info;
  torch::jit::Node* marker = nullptr;  ///< sinkscope::block_input or sinkscope::block_output
};

/// Resolves the markers of inline_with_paths: one stream entering the first block of each stack, one leaving every
/// block, in execution order. Sets `layer` of every site: the order of its block within its stack (the list that holds
/// the block). `gaps`, if not null, receives the paths of consecutive blocks of a stack of which the second is not
/// given what the first hands on: the hidden state changes between them, where no stream is tapped.
std::vector<StreamPoint> find_streams(FlatGraph& flat, const std::map<std::string, std::string>& blocks,
                                      std::vector<Site>& sites,
                                      std::vector<std::pair<std::string, std::string>>* gaps = nullptr);

}  // namespace sinkscope
