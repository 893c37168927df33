#include "graph/block_calls.h"

#include <algorithm>
#include <unordered_map>

#include "graph/markers.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

using torch::jit::Node;

/// The calls of blocks in execution order.
std::vector<BlockCall> calls_of(const FlatGraph& flat, const std::map<std::string, std::string>& blocks,
                                const std::vector<Site>& sites) {
  std::vector<BlockCall> calls(flat.calls.size());
  std::unordered_map<std::string, std::size_t> open;  // block path -> call that was entered last
  std::unordered_map<const Node*, const Site*> site_at;
  for (const Site& site : sites) site_at[site.node] = &site;
  for_each_node(flat.graph->block(), [&](Node* node, int) {
    const bool input = is_marker(node, "sinkscope::block_input");
    if (input || is_marker(node, "sinkscope::block_output")) {
      BlockCall& block = calls[static_cast<std::size_t>(*call_of(node))];
      block.call = *call_of(node);
      const ModuleCall& call = flat.calls[static_cast<std::size_t>(block.call)];
      block.path = call.path;
      block.of_parts = call.of_parts;
      open[block.path] = static_cast<std::size_t>(block.call);
      if (input) {
        if (!is_parameter(node->input(0))) block.inputs.push_back(node);
        return;
      }
      if (element_of(node) == 0) {
        if (block.first.empty()) block.first = std::move(block.last);
        block.last.clear();
      }
      block.last.push_back(node);
    } else if (const auto site = site_at.find(node); site != site_at.end()) {
      if (const auto at = open.find(blocks.at(site->second->called_as)); at != open.end())
        calls[at->second].sites.push_back(site->second);
    }
  });
  return calls;
}

/// A call without a site is part of the one before, or of the one behind if it is the first: a part came twice.
std::vector<BlockCall> joined(std::vector<BlockCall> calls) {
  std::vector<BlockCall> whole;
  for (BlockCall& block : calls) {
    if (block.inputs.empty() && block.last.empty()) continue;
    if (block.first.empty()) block.first = block.last;
    const auto same = [&](const BlockCall& other) { return other.path == block.path; };
    const auto before = std::find_if(whole.rbegin(), whole.rend(), same);
    if (before != whole.rend() && block.sites.empty()) {
      before->last = std::move(block.last);
    } else if (before != whole.rend() && before->sites.empty()) {
      before->inputs.insert(before->inputs.end(), block.inputs.begin(), block.inputs.end());
      before->last = std::move(block.last);
      before->sites = std::move(block.sites);
    } else {
      whole.push_back(std::move(block));
    }
  }
  return whole;
}

}  // namespace

std::vector<BlockCall> find_block_calls(const FlatGraph& flat, const std::map<std::string, std::string>& blocks,
                                        const std::vector<Site>& sites) {
  return joined(calls_of(flat, blocks, sites));
}

}  // namespace sinkscope
