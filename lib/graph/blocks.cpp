#include "graph/blocks.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "graph/module_path.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// Paths of the lists (modules whose children are all numbered) with their number of elements.
std::map<std::string, std::size_t> lists_of(const jit::Module& module) {
  std::map<std::string, std::pair<std::size_t, bool>> children;  // path -> (count, all numbered)
  for (const auto& m : module.named_modules()) {
    if (m.name.empty()) continue;
    auto [it, fresh] = children.try_emplace(parent_of(m.name), 0, true);
    ++it->second.first;
    it->second.second = it->second.second && is_list_element(m.name);
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
    for (Value* input : at->inputs()) {
      visit(input->node());
      for (Node* write : writes_into(input))
        if (write->isBefore(at)) visit(write);
      if (input->type()->kind() != c10::TypeKind::ListType) continue;
      for (const jit::Use& use : input->uses())
        if (use.offset == 0 && is_op(use.user, {"append", "extend", "insert", "_set_item"})) visit(use.user);
    }
    for (jit::Block* block : at->blocks())
      for (Value* output : block->outputs()) visit(output->node());
    if (at->kind() == c10::prim::Param && at->owningBlock()->owningNode() != nullptr)
      visit(at->owningBlock()->owningNode());
  }
  return false;
}

}  // namespace

std::set<std::string> parallel_lists(const std::vector<Site>& sites) {
  std::map<std::string, std::vector<std::pair<std::string, std::vector<Node*>>>> lists;  // list -> elements in order
  for (const Site& site : sites) {
    for (std::string at = site.called_as; !at.empty(); at = parent_of(at)) {
      if (!is_list_element(at)) continue;
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

namespace {

/// Of a head that is a list element itself the module that holds the heads, of any other its own.
std::string holder_of(const std::string& site, const std::set<std::string>& parallel) {
  const std::string list = parent_of(site);
  const bool is_head = is_list_element(site) && parallel.count(list) > 0 && !parent_of(list).empty();
  return is_head ? parent_of(list) : site;
}

}  // namespace

std::map<std::string, std::string> find_blocks(const jit::Module& module, const std::set<std::string>& site_paths,
                                               const std::set<std::string>& parallel) {
  std::set<std::string> complete;  // lists whose every element contains a site
  for (const auto& [path, count] : lists_of(module)) {
    std::size_t with_site = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string element = join_path(path, std::to_string(i));
      with_site +=
          std::any_of(site_paths.begin(), site_paths.end(), [&](const auto& s) { return contains(element, s); });
    }
    if (with_site == count && parallel.count(path) == 0) complete.insert(path);
  }
  std::map<std::string, std::string> blocks;
  for (const std::string& site : site_paths) {
    std::optional<std::string> deepest, outermost;
    for (std::string at = site; !at.empty(); at = parent_of(at)) {
      if (!is_list_element(at) || parallel.count(parent_of(at)) > 0) continue;
      if (!deepest && complete.count(parent_of(at)) > 0) deepest = at;
      outermost = at;
    }
    blocks[site] = deepest ? *deepest : outermost ? *outermost : holder_of(site, parallel);
  }
  return blocks;
}

}  // namespace sinkscope
