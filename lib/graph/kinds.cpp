#include "graph/kinds.h"

#include <algorithm>
#include <deque>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "graph/markers.h"
#include "graph/module_path.h"
#include "graph/terms.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// The list that holds the block; a block that is no element of one is a stack of its own.
std::string stack_of(const std::string& block) { return is_list_element(block) ? "list " + parent_of(block) : block; }

/// Inputs that the data of a result come from: not those that only lend their shape or type.
std::vector<Value*> data_of(Node* node) {
  if (is_op(node, {"zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_full",
                   "new_empty", "size"}))
    return {};
  if (is_op(node, {"to", "type_as", "expand_as", "view_as", "reshape_as"})) return {node->input(0)};
  std::vector<Value*> inputs(node->inputs().begin(), node->inputs().end());
  for (jit::Block* block : node->blocks())
    inputs.insert(inputs.end(), block->outputs().begin(), block->outputs().end());
  return inputs;
}

bool carries_tensors(const Value* value) {
  switch (value->type()->kind()) {
    case c10::TypeKind::TensorType:
    case c10::TypeKind::TupleType:
    case c10::TypeKind::ListType:
    case c10::TypeKind::DictType:
    case c10::TypeKind::OptionalType:
      return true;
    default:
      return false;
  }
}

/// One call of a block.
struct Call {
  std::string stack;
  Node* output = nullptr;
};
using Calls = std::unordered_map<std::int64_t, Call>;

/// Where a value comes from, looking no further than the call that it lies in and other stacks.
struct Origin {
  std::set<std::int64_t> arguments;  // of the call itself
  bool other_call = false;           // of the same stack
};

Origin origin_of(Value* value, std::int64_t own, const Calls& calls) {
  Origin origin;
  std::deque<Value*> queue{value};
  std::unordered_set<Value*> seen{value};
  while (!queue.empty()) {
    Node* node = queue.front()->node();
    const std::vector<Value*> written = written_into(queue.front());
    queue.pop_front();
    const bool input = is_marker(node, "sinkscope::block_input");
    if (input || is_marker(node, "sinkscope::block_output")) {
      const std::int64_t call = *call_of(node);
      if (calls.at(call).stack != calls.at(own).stack) continue;  // what is behind it belongs to the other stack
      if (call == own && input) origin.arguments.insert(element_of(node));
      if (call != own) {
        origin.other_call = true;
        continue;
      }
    }
    std::vector<Value*> sources = data_of(node);
    sources.insert(sources.end(), written.begin(), written.end());
    for (Value* next : sources)
      if (carries_tensors(next) && seen.insert(next).second) queue.push_back(next);
  }
  return origin;
}

/// The arguments of a call that carry the stream: the one that the output adds to, else those that the queries are
/// computed from.
std::set<std::int64_t> stream_of(const Site& site, std::int64_t own, const Calls& calls) {
  const Call& call = calls.at(own);
  Node* residual = call.output != nullptr ? residual_input(call.output->input(0), own, /*any_op=*/false) : nullptr;
  if (residual != nullptr) return {element_of(residual)};
  return site.query != nullptr ? origin_of(site.query, own, calls).arguments : std::set<std::int64_t>();
}

/// The states that a query or key is projected from: behind the nearest linear maps, and from there on behind further
/// ones and norms, but no sum.
std::unordered_set<Value*> states_behind(Value* value) {
  std::vector<Value*> found;
  std::deque<Value*> queue{value};
  std::unordered_set<Value*> seen{value};
  while (!queue.empty()) {
    Node* node = queue.front()->node();
    queue.pop_front();
    if (Value* state = projected(node)) {
      found.push_back(state);
      continue;
    }
    for (Value* next : data_of(node))
      if (carries_tensors(next) && seen.insert(next).second) queue.push_back(next);
  }
  std::unordered_set<Value*> states;
  while (!found.empty()) {
    const Terms terms = terms_of(found.back());
    found.pop_back();
    for (Value* term : terms.all) {
      if (terms.summed.count(term) > 0 || !states.insert(term).second) continue;
      if (Value* state = projected(term->node())) found.push_back(state);
    }
  }
  return states;
}

bool share_a_state(const Site& site) {
  if (site.query == nullptr) return false;
  const std::unordered_set<Value*> query = states_behind(site.query), key = states_behind(site.key);
  return std::any_of(key.begin(), key.end(), [&](Value* state) { return query.count(state) > 0; });
}

}  // namespace

void find_kinds(const FlatGraph& flat, const std::map<std::string, std::string>& blocks, std::vector<Site>& sites) {
  Calls calls;
  std::unordered_map<std::string, std::int64_t> open_call;  // block path -> call that was entered last
  std::unordered_map<const Node*, std::int64_t> call_of_site;
  std::unordered_map<const Node*, const Site*> site_at;
  for (const Site& site : sites) site_at[site.node] = &site;
  for_each_node(flat.graph->block(), [&](Node* node, int) {
    const bool input = is_marker(node, "sinkscope::block_input");
    if (input || is_marker(node, "sinkscope::block_output")) {
      const std::int64_t call = *call_of(node);
      const std::string& path = flat.calls[static_cast<std::size_t>(call)].path;
      Call& entry = calls[call];
      entry.stack = stack_of(path);
      if (input)
        open_call[path] = call;
      else if (element_of(node) == 0)
        entry.output = node;
    } else if (site_at.count(node) > 0) {
      const auto open = open_call.find(blocks.at(site_at[node]->called_as));
      if (open != open_call.end()) call_of_site[node] = open->second;
    }
  });
  for (Site& site : sites) {
    const auto call = call_of_site.find(site.node);
    if (site.key == nullptr || call == call_of_site.end()) continue;
    const Origin key = origin_of(site.key, call->second, calls);
    bool own = key.other_call;
    // The arguments of parts, and those of attention without its projections, are no streams.
    if (const ModuleCall& block = flat.calls[static_cast<std::size_t>(call->second)];
        block.of_parts || !is_list_element(block.path) || key.arguments.empty()) {
      own = own || share_a_state(site);
    } else {
      const std::set<std::int64_t> stream = stream_of(site, call->second, calls);
      if (stream.empty()) continue;
      own = own || std::any_of(stream.begin(), stream.end(),
                               [&](std::int64_t argument) { return key.arguments.count(argument) > 0; });
    }
    site.info.kind = own ? "self" : "cross";
    site.info.own_keys = own;
  }
}

}  // namespace sinkscope
