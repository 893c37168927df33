#include "graph/streams.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "graph/markers.h"
#include "graph/module_path.h"
#include "graph/residual_sum.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

struct BlockCall {
  std::int64_t call = 0;
  std::string path;
  bool of_parts = false;           // as ModuleCall
  std::vector<Node*> inputs;       // markers of the tensors that it is given, or its parts are
  std::vector<Node*> first, last;  // markers of what its first and last part return; the same for a module
  std::vector<const Site*> sites;
  Value* leaving = nullptr;        // the residual stream behind it
  Value* state = nullptr;          // what the leaving sum was made with, where it lies outside
  Node* leaving_marker = nullptr;  // null: the sum lies outside
};

bool is_lone(const BlockCall& block) { return !is_list_element(block.path); }

/// The calls of blocks in execution order. A call without a site is the rest of the one before: a part came twice.
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
        block.inputs.push_back(node);
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
  std::vector<BlockCall> merged;
  for (BlockCall& block : calls) {
    if (block.inputs.empty() && block.last.empty()) continue;
    if (block.first.empty()) block.first = block.last;
    const auto before =
        std::find_if(merged.rbegin(), merged.rend(), [&](const auto& b) { return b.path == block.path; });
    if (block.sites.empty() && before != merged.rend())
      before->last = std::move(block.last);
    else
      merged.push_back(std::move(block));
  }
  return merged;
}

/// What the call is given, as it sees it and as its caller does.
std::unordered_set<Value*> given(const BlockCall& block) {
  std::unordered_set<Value*> values;
  for (Node* input : block.inputs) values.insert({input->input(0), input->output()});
  return values;
}

bool meets(const std::unordered_set<Value*>& terms, const std::unordered_set<Value*>& values) {
  return std::any_of(values.begin(), values.end(), [&](Value* value) { return terms.count(value) > 0; });
}

/// Sums, made within the block, of what it was given.
std::vector<Node*> residual_outputs(const BlockCall& block) {
  const std::unordered_set<Value*> values = given(block);
  std::vector<Node*> outputs;
  for (Node* output : block.last)
    if (meets(terms_of(output->input(0)).summed, values)) outputs.push_back(output);
  return outputs;
}

/// The sum outside of one of the block's results and of a state that it was given, or that this was made of. A block in
/// no list may be the attention alone, without its projections.
std::optional<ResidualSum> outer_sum(const BlockCall& block, Node* output) {
  std::unordered_set<Value*> states = given(block);
  for (Node* input : block.inputs) states.merge(terms_of(input->input(0)).all);
  if (!is_lone(block)) return sum_with(output->output(), states);
  for (Value* term : std::vector<Value*>(states.begin(), states.end()))
    if (Value* before = projected(term->node())) states.merge(terms_of(before).all);
  return sum_with(output->output(), states, Projections::pass);
}

/// Whether a state is the value of one of `markers` with nothing added since.
bool is_unchanged(Value* state, const std::vector<Node*>& markers) {
  const Terms terms = terms_of(state);
  return std::any_of(markers.begin(), markers.end(), [&](Node* marker) {
    return terms.all.count(marker->output()) > 0 && terms.summed.count(marker->output()) == 0;
  });
}

/// The sum behind the block of a result that is no sum itself: with another result, or if there is none that is a sum,
/// with what the block was given. Tracing orders results by their use, so the first says nothing.
Value* sum_behind(BlockCall& block, const std::vector<Node*>& sums) {
  for (Node* output : block.last) {
    if (std::find(sums.begin(), sums.end(), output) != sums.end()) continue;
    const auto sum = outer_sum(block, output);
    if (!sum || !(sums.empty() || is_unchanged(sum->state, sums))) continue;
    const auto first = outer_sum(block, block.first.front());
    block.state = first ? first->state : sum->state;
    return sum->sum;
  }
  return nullptr;
}

/// Decides what leaves a block. `end`: where the next one begins.
void find_leaving(BlockCall& block, const Node* end, StreamRemarks& remarks) {
  if (block.last.empty()) return;
  const std::vector<Node*> sums = residual_outputs(block);
  Value* sum = sum_behind(block, sums);
  if (sum == nullptr) {
    block.leaving_marker = sums.empty() ? block.last.front() : sums.front();
    block.leaving = block.leaving_marker->output();
    if (sums.empty()) remarks.no_residual.push_back(block.path);
    if (!is_lone(block)) return;
    sum = block.leaving;
  }
  Value* later = last_sum(sum, end);
  if (later == block.leaving) return;
  block.leaving = later;
  block.leaving_marker = nullptr;
  if (!block.of_parts) remarks.added_outside.push_back(block.path);
}

/// The state behind a marker, for all that use it; for the block alone where something is written into it before.
Value* state_behind(Node* input) { return written_into(input->input(0)).empty() ? input->input(0) : input->output(); }

/// Of a block that hands on a state in two parts: the sum that it makes of them first.
Value* entry_sum(const BlockCall& block, Node* input, const Terms& leaving) {
  std::unordered_set<Value*> others;
  for (Node* other : block.inputs)
    if (other != input) others.insert(other->output());
  const auto sum = sum_with(input->output(), others);
  return sum && leaving.all.count(sum->sum) > 0 ? sum->sum : nullptr;
}

/// What the first block of a stack is given, of which what it hands on is made.
Value* find_entering(const BlockCall& block) {
  if (block.leaving == nullptr) return nullptr;
  if (block.leaving_marker != nullptr)
    if (Node* input = residual_input(block.leaving, block.call, /*any_op=*/false)) return state_behind(input);
  const Terms terms = terms_of(block.leaving);
  for (Node* input : block.inputs) {
    if (terms.all.count(input->input(0)) == 0 && terms.all.count(input->output()) == 0) continue;
    Value* sum = block.leaving_marker == nullptr && !block.of_parts ? entry_sum(block, input, terms) : nullptr;
    return sum != nullptr ? sum : state_behind(input);
  }
  if (block.state != nullptr) return block.state;
  Node* input = residual_input(block.leaving, block.call, /*any_op=*/true);
  return input == nullptr ? nullptr : state_behind(input);
}

/// A list's blocks are a stack. A block in no list goes on the stack on whose last block's state it builds.
std::vector<std::vector<BlockCall>> stacks_of(std::vector<BlockCall> calls) {
  std::vector<std::vector<BlockCall>> stacks;
  for (BlockCall& block : calls) {
    const auto goes_on = [&](const std::vector<BlockCall>& stack) {
      if (is_lone(stack.back()) != is_lone(block)) return false;
      if (!is_lone(block)) return parent_of(stack.back().path) == parent_of(block.path);
      return stack.back().leaving != nullptr && block.leaving != nullptr &&
             terms_of(block.leaving).all.count(stack.back().leaving) > 0;
    };
    const auto stack = std::find_if(stacks.begin(), stacks.end(), goes_on);
    if (stack == stacks.end())
      stacks.push_back({std::move(block)});
    else
      stack->push_back(std::move(block));
  }
  return stacks;
}

/// Whether a block is given something, but not what the block before it hands on.
bool has_gap(const BlockCall& before, const BlockCall& block) {
  if (before.leaving_marker == nullptr || block.leaving_marker == nullptr || block.inputs.empty()) return false;
  return std::none_of(block.inputs.begin(), block.inputs.end(),
                      [&](Node* input) { return is_result_of(input->input(0), before.leaving_marker); });
}

/// Whether the next block is given more than one sum with a state that was made of what `entering` is made of.
bool hands_on_several(const BlockCall& block, const BlockCall& next, Value* entering) {
  if (block.leaving_marker == nullptr || entering == nullptr) return false;
  const std::unordered_set<Value*> state = terms_of(entering).all;
  const std::vector<Node*> sums = residual_outputs(block);
  return std::count_if(sums.begin(), sums.end(), [&](Node* sum) {
           const auto is_sum = [&](Node* input) { return is_result_of(input->input(0), sum); };
           return std::any_of(next.inputs.begin(), next.inputs.end(), is_sum) &&
                  meets(terms_of(sum->output()).all, state);
         }) > 1;
}

/// Routes what uses a value after it was computed through a sinkscope::stream_point(x).
Node* mark(jit::Graph& graph, Value* value) {
  Node* node = value->node();
  const bool is_input = node->kind() == c10::prim::Param;
  const jit::WithInsertPoint after(is_input ? *node->owningBlock()->nodes().begin() : node->next());
  Node* marker = graph.create(c10::Symbol::fromQualString("sinkscope::stream_point"), {value}, 1);
  marker->output()->setType(value->type());
  graph.insertNode(marker);
  value->replaceAllUsesAfterNodeWith(marker, marker->output());
  return marker;
}

}  // namespace

Streams find_streams(FlatGraph& flat, const std::map<std::string, std::string>& blocks, std::vector<Site>& sites) {
  Streams streams;
  std::vector<BlockCall> calls = calls_of(flat, blocks, sites);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const auto follows = [&](const BlockCall& next) {
      return !next.inputs.empty() && is_lone(next) == is_lone(calls[i]) &&
             (is_lone(next) || parent_of(next.path) == parent_of(calls[i].path));
    };
    const auto next = std::find_if(calls.begin() + static_cast<std::ptrdiff_t>(i) + 1, calls.end(), follows);
    find_leaving(calls[i], next == calls.end() ? nullptr : next->inputs.front(), streams.remarks);
  }

  std::vector<std::pair<StreamInfo, Value*>> points;
  const auto add = [&](const BlockCall& block, const char* point, std::optional<std::int64_t> layer, Value* value) {
    if (value == nullptr) return;
    points.push_back({{StreamId{std::ssize(points)}, block.path, point, layer}, value});
  };
  std::unordered_map<const Site*, std::int64_t> layers;
  for (const std::vector<BlockCall>& stack : stacks_of(std::move(calls))) {
    Value* entering = find_entering(stack.front());
    add(stack.front(), "entering", std::nullopt, entering);
    for (std::size_t layer = 0; layer < stack.size(); ++layer) {
      const BlockCall& block = stack[layer];
      for (const Site* site : block.sites) layers[site] = static_cast<std::int64_t>(layer);
      add(block, "leaving", static_cast<std::int64_t>(layer), block.leaving);
      if (layer == 0) continue;
      const BlockCall& before = stack[layer - 1];
      if (has_gap(before, block)) streams.remarks.gaps.emplace_back(before.path, block.path);
      if (hands_on_several(before, block, entering)) streams.remarks.several.push_back(before.path);
    }
  }
  for (Site& site : sites)
    if (const auto layer = layers.find(&site); layer != layers.end()) site.info.layer = layer->second;
  // Last: the decisions above look at the graph as it was.
  for (auto& [info, value] : points) streams.points.push_back({std::move(info), mark(*flat.graph, value)});
  return streams;
}

}  // namespace sinkscope
