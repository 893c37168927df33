#pragma once
// The calls of blocks, gathered from their markers.

#include <map>
#include <string>
#include <vector>

#include "graph/inline_with_paths.h"
#include "graph/site.h"

namespace sinkscope {

struct BlockCall {
  std::int64_t call = 0;
  std::string path;
  bool of_parts = false;                       ///< as ModuleCall
  std::vector<torch::jit::Node*> inputs;       ///< markers of the tensors that it is given, or its parts are
  std::vector<torch::jit::Node*> first, last;  ///< of what its first and last part return; the same for a module
  std::vector<const Site*> sites;
};

/// Calls in execution order, each with a site, if it has any marker. `blocks`: find_blocks.
std::vector<BlockCall> find_block_calls(const FlatGraph& flat, const std::map<std::string, std::string>& blocks,
                                        const std::vector<Site>& sites);

}  // namespace sinkscope
