#include "graph/blocks.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "graph/markers.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

std::string parent_of(const std::string& path) {
  const auto dot = path.find_last_of('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot);
}

std::string last_of(const std::string& path) { return path.substr(path.find_last_of('.') + 1); }

bool is_number(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool contains(const std::string& module, const std::string& path) {
  return module.empty() || path == module ||
         (path.size() > module.size() && path.compare(0, module.size(), module) == 0 && path[module.size()] == '.');
}

/// Paths of the lists (modules whose children are all numbered) with their number of elements.
std::map<std::string, std::size_t> lists_of(const jit::Module& module) {
  std::map<std::string, std::pair<std::size_t, bool>> children;  // path -> (count, all numbered)
  for (const auto& m : module.named_modules()) {
    if (m.name.empty()) continue;
    auto [it, fresh] = children.try_emplace(parent_of(m.name), 0, true);
    ++it->second.first;
    it->second.second = it->second.second && is_number(last_of(m.name));
  }
  std::map<std::string, std::size_t> lists;
  for (const auto& [path, facts] : children)
    if (facts.second) lists[path] = facts.first;
  return lists;
}

/// Whether `node` is computed from the result of one of `sources`.
bool comes_after(Node* node, const std::vector<Node*>& sources) {
  std::vector<Node*> stack{node};
  std::unordered_set<Node*> seen{node};
  const auto visit = [&](Node* next) {
    if (seen.insert(next).second) stack.push_back(next);
  };
  while (!stack.empty()) {
    Node* at = stack.back();
    stack.pop_back();
    if (at != node && std::find(sources.begin(), sources.end(), at) != sources.end()) return true;
    for (Value* input : at->inputs()) visit(input->node());
    for (jit::Block* block : at->blocks())
      for (Value* output : block->outputs()) visit(output->node());
    if (at->kind() == c10::prim::Param && at->owningBlock()->owningNode() != nullptr)
      visit(at->owningBlock()->owningNode());
  }
  return false;
}

}  // namespace

bool is_list_element(const std::string& path) { return is_number(last_of(path)); }

std::set<std::string> parallel_lists(const std::vector<Site>& sites) {
  std::map<std::string, std::vector<std::pair<std::string, std::vector<Node*>>>> lists;  // list -> elements in order
  for (const Site& site : sites) {
    for (std::string at = site.module; !at.empty(); at = parent_of(at)) {
      if (!is_number(last_of(at))) continue;
      auto& elements = lists[parent_of(at)];
      const auto same = [&](const auto& element) { return element.first == at; };
      auto it = std::find_if(elements.begin(), elements.end(), same);
      if (it == elements.end()) it = elements.insert(elements.end(), {at, {}});
      it->second.push_back(site.node);
    }
  }
  std::set<std::string> parallel;
  for (const auto& [path, elements] : lists) {
    if (elements.size() < 2) continue;
    const auto& later = elements[1].second;
    if (std::none_of(later.begin(), later.end(), [&](Node* node) { return comes_after(node, elements[0].second); }))
      parallel.insert(path);
  }
  return parallel;
}

std::map<std::string, std::string> find_blocks(const jit::Module& module, const std::set<std::string>& site_paths,
                                               const std::set<std::string>& parallel) {
  std::set<std::string> complete;  // lists whose every element contains a site
  for (const auto& [path, count] : lists_of(module)) {
    std::size_t with_site = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string element = path.empty() ? std::to_string(i) : path + "." + std::to_string(i);
      with_site +=
          std::any_of(site_paths.begin(), site_paths.end(), [&](const auto& s) { return contains(element, s); });
    }
    if (with_site == count && parallel.count(path) == 0) complete.insert(path);
  }
  std::map<std::string, std::string> blocks;
  for (const std::string& site : site_paths) {
    std::optional<std::string> deepest, outermost;
    for (std::string at = site; !at.empty(); at = parent_of(at)) {
      if (!is_number(last_of(at)) || parallel.count(parent_of(at)) > 0) continue;
      if (!deepest && complete.count(parent_of(at)) > 0) deepest = at;
      outermost = at;
    }
    blocks[site] = deepest ? *deepest : outermost ? *outermost : site;
  }
  return blocks;
}

namespace {

struct BlockCall {
  std::int64_t call = 0;
  std::int64_t layer = 0;
  std::vector<Node*> inputs;  // markers of the tensors that it is given
  Node* output = nullptr;
};

/// Whether a block is given something, but not what the block before it hands on.
bool has_gap(const BlockCall& before, const BlockCall& block) {
  if (before.output == nullptr || block.inputs.empty()) return false;
  return std::none_of(block.inputs.begin(), block.inputs.end(),
                      [&](Node* input) { return is_result_of(input->input(0), before.output); });
}

}  // namespace

std::vector<StreamPoint> find_streams(FlatGraph& flat, const std::map<std::string, std::string>& blocks,
                                      std::vector<Site>& sites,
                                      std::vector<std::pair<std::string, std::string>>* gaps) {
  std::map<std::string, std::vector<BlockCall>> stacks;  // path of the list -> its block calls in execution order
  std::vector<std::string> stack_order;
  std::unordered_map<std::string, std::int64_t> open_call;  // block path -> call that was entered last
  std::unordered_map<std::int64_t, std::int64_t> layer_of;
  std::unordered_map<const Node*, std::optional<std::int64_t>> layer_of_node;
  std::unordered_map<const Node*, const Site*> site_at;
  for (const Site& site : sites) site_at[site.node] = &site;

  for_each_node(flat.graph->block(), [&](Node* node, int) {
    if (is_marker(node, "sinkscope::block_input")) {
      const std::int64_t call = *call_of(node);
      const std::string& path = flat.calls[static_cast<std::size_t>(call)].path;
      open_call[path] = call;
      auto& stack = stacks[parent_of(path)];
      if (layer_of.count(call) > 0) {
        for (BlockCall& block : stack)
          if (block.call == call) block.inputs.push_back(node);
        return;
      }
      if (stack.empty()) stack_order.push_back(parent_of(path));
      layer_of[call] = static_cast<std::int64_t>(stack.size());
      stack.push_back({call, layer_of[call], {node}, nullptr});
    } else if (is_marker(node, "sinkscope::block_output")) {
      const std::int64_t call = *call_of(node);
      for (BlockCall& block : stacks[parent_of(flat.calls[static_cast<std::size_t>(call)].path)])
        if (block.call == call) block.output = node;
    } else if (site_at.count(node) > 0) {
      const auto open = open_call.find(blocks.at(site_at[node]->module));
      if (open != open_call.end()) layer_of_node[node] = layer_of[open->second];
    }
  });
  for (Site& site : sites) site.info.layer = layer_of_node[site.node];

  std::vector<StreamPoint> streams;
  const auto add = [&](const BlockCall& block, const char* point, std::optional<std::int64_t> layer, Node* marker) {
    if (marker == nullptr) return;
    StreamPoint stream;
    stream.info = {StreamId{static_cast<std::int64_t>(streams.size())},
                   flat.calls[static_cast<std::size_t>(block.call)].path, point, layer};
    stream.marker = marker;
    streams.push_back(std::move(stream));
  };
  for (const std::string& stack : stack_order) {
    const BlockCall& first = stacks[stack].front();
    if (first.output != nullptr) {
      Node* entering = residual_input(first.output->input(0), first.call, /*any_op=*/false);
      if (entering == nullptr) entering = residual_input(first.output->input(0), first.call, /*any_op=*/true);
      add(first, "entering", std::nullopt, entering);
    }
    const std::vector<BlockCall>& calls = stacks[stack];
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (gaps != nullptr && i > 0 && has_gap(calls[i - 1], calls[i]))
        gaps->emplace_back(flat.calls[static_cast<std::size_t>(calls[i - 1].call)].path,
                           flat.calls[static_cast<std::size_t>(calls[i].call)].path);
      add(calls[i], "leaving", calls[i].layer, calls[i].output);
    }
  }
  return streams;
}

}  // namespace sinkscope
