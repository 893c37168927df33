#pragma once
// Which module is a site's block.

#include <torch/csrc/jit/api/module.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "graph/find_attention.h"

namespace sinkscope {

/// Paths of the lists whose elements hold sites but run side by side, none on the result of another: heads of one
/// attention, branches. Their elements are no blocks.
std::set<std::string> parallel_lists(const std::vector<Site>& sites);

/// Module path of the block of every path in `site_paths` (Site::called_as): the element of the deepest ModuleList
/// whose every element contains a site and that is not `parallel`, else the outermost indexed ancestor, else the module
/// that holds the site ("" for the root), or that holds the list of heads of which it is one.
std::map<std::string, std::string> find_blocks(const torch::jit::Module& module,
                                               const std::set<std::string>& site_paths,
                                               const std::set<std::string>& parallel = {});

}  // namespace sinkscope
