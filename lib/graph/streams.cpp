#include "graph/streams.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "graph/markers.h"
#include "graph/module_path.h"
#include "graph/residual_sum.h"
#include "graph/terms.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// Of a block that hands on a state in two parts: the sum that it makes of them first.
Value* entry_sum(const Boundary& block, Node* input, const Terms& leaving) {
  std::unordered_set<Value*> others;
  for (Node* other : block.inputs)
    if (other != input) others.insert(other->output());
  const auto sum = sum_with(input->output(), others);
  return sum && leaving.all.count(sum->sum) > 0 ? sum->sum : nullptr;
}

/// The argument of the first module of a stack in whose place the second is given what the first hands on.
Node* argument_of_state(const std::vector<Boundary>& stack) {
  if (stack.size() < 2 || stack[0].result == nullptr || stack[0].of_parts || stack[1].of_parts) return nullptr;
  for (Node* input : stack[1].inputs) {
    if (!is_result_of(input->input(0), stack[0].result)) continue;
    for (Node* first : stack[0].inputs)
      if (element_of(first) == element_of(input)) return first;
  }
  return nullptr;
}

/// What the first block of a stack is given, of which what it hands on is made.
Value* find_entering(const std::vector<Boundary>& stack) {
  const Boundary& block = stack.front();
  if (block.leaving == nullptr) return nullptr;
  const Terms terms = terms_of(block.leaving);
  const auto is_term = [&](Node* input) {
    return terms.all.count(input->input(0)) > 0 || terms.all.count(input->output()) > 0;
  };
  if (Node* input = argument_of_state(stack); input != nullptr && is_term(input)) return input->input(0);
  if (block.result != nullptr)
    if (Node* input = residual_input(block.leaving, block.call, /*any_op=*/false)) return input->input(0);
  const auto given = std::find_if(block.inputs.begin(), block.inputs.end(), is_term);
  if (block.outer && !block.of_parts && given != block.inputs.end())
    if (Value* sum = entry_sum(block, *given, terms)) return sum;
  if (block.state != nullptr) return block.state;
  if (given != block.inputs.end()) return (*given)->input(0);
  Node* input = residual_input(block.leaving, block.call, /*any_op=*/true);
  return input == nullptr ? nullptr : input->input(0);
}

/// A list's blocks are a stack. A block in no list goes on the stack on whose last block's state it builds.
std::vector<std::vector<Boundary>> stacks_of(std::vector<Boundary> blocks) {
  std::vector<std::vector<Boundary>> stacks;
  for (Boundary& block : blocks) {
    const auto goes_on = [&](const std::vector<Boundary>& stack) {
      if (!same_list(stack.back(), block)) return false;
      return !is_lone(block) || (stack.back().leaving != nullptr && block.leaving != nullptr &&
                                 terms_of(block.leaving).all.count(stack.back().leaving) > 0);
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
bool has_gap(const Boundary& before, const Boundary& block) {
  if (before.leaving == nullptr || block.leaving == nullptr || block.inputs.empty()) return false;
  if (before.result == nullptr || block.result == nullptr)
    return terms_of(block.leaving).all.count(before.leaving) == 0;
  const auto is_between = [&](Node* write) {
    return before.result->isBefore(write) && write->isBefore(block.inputs.front());
  };
  const std::vector<Node*> writes = writes_into(before.result->output());
  return std::any_of(writes.begin(), writes.end(), is_between) ||
         std::none_of(block.inputs.begin(), block.inputs.end(),
                      [&](Node* input) { return is_result_of(input->input(0), before.result); });
}

/// Whether the next block is given more than one sum with a state that was made of what `entering` is made of.
bool hands_on_several(const Boundary& block, const Boundary& next, Value* entering) {
  if (block.result == nullptr || entering == nullptr) return false;
  const std::unordered_set<Value*> state = terms_of(entering).all;
  return std::count_if(block.sums.begin(), block.sums.end(), [&](Node* sum) {
           const auto is_sum = [&](Node* input) { return is_result_of(input->input(0), sum); };
           return std::any_of(next.inputs.begin(), next.inputs.end(), is_sum) &&
                  meets(terms_of(sum->output()).all, state);
         }) > 1;
}

struct Point {
  StreamInfo info;
  Value* value = nullptr;
  const Node* end = nullptr;  // what is written into the value before this node belongs to it
};

/// Routes what uses a value after it was computed through a sinkscope::stream_point(x).
Node* mark(jit::Graph& graph, const Point& point) {
  Node* last = point.value->node();
  if (point.end != nullptr)
    for (Node* write : writes_into(point.value))
      if (write->owningBlock() == last->owningBlock() && write->isBefore(point.end) && last->isBefore(write))
        last = write;
  const bool is_input = last->kind() == c10::prim::Param;
  const jit::WithInsertPoint after(is_input ? *last->owningBlock()->nodes().begin() : last->next());
  Node* marker = graph.create(c10::Symbol::fromQualString("sinkscope::stream_point"), {point.value}, 1);
  marker->output()->setType(point.value->type());
  graph.insertNode(marker);
  point.value->replaceAllUsesAfterNodeWith(marker, marker->output());
  return marker;
}

}  // namespace

Streams find_streams(FlatGraph& flat, const std::map<std::string, std::string>& blocks, std::vector<Site>& sites) {
  Streams streams;
  StreamRemarks& remarks = streams.remarks;
  std::vector<Point> points;
  const auto add = [&](const Boundary& block, const char* point, std::optional<std::int64_t> layer, Value* value,
                       const Node* end) {
    if (value == nullptr) return;
    points.push_back({{StreamId{std::ssize(points)}, block.path, point, layer}, value, end});
  };
  std::unordered_map<const Site*, std::int64_t> layers;
  for (const auto& stack : stacks_of(find_boundaries(flat, find_block_calls(flat, blocks, sites), remarks))) {
    Value* entering = find_entering(stack);
    add(stack.front(), "entering", std::nullopt, entering,
        stack.front().inputs.empty() ? nullptr : stack.front().inputs.front());
    for (std::size_t i = 0; i < stack.size(); ++i) {
      const auto layer = static_cast<std::int64_t>(i);
      for (const Site* site : stack[i].sites) layers[site] = layer;
      add(stack[i], "leaving", layer, stack[i].leaving, nullptr);
      if (i == 0) continue;
      if (has_gap(stack[i - 1], stack[i])) remarks.gaps.emplace_back(stack[i - 1].path, stack[i].path);
      if (hands_on_several(stack[i - 1], stack[i], entering)) remarks.several.push_back(stack[i - 1].path);
    }
  }
  for (Site& site : sites)
    if (const auto layer = layers.find(&site); layer != layers.end()) site.info.layer = layer->second;
  // Last: the decisions above look at the graph as it was.
  for (const Point& point : points) streams.points.push_back({point.info, mark(*flat.graph, point)});
  return streams;
}

}  // namespace sinkscope
