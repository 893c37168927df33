#include "graph/markers.h"

#include <deque>
#include <unordered_set>
#include <vector>

#include "graph/walk.h"

namespace sinkscope {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

std::optional<std::int64_t> call_of(const Node* marker) { return constant_int(marker->input(1)); }
bool is_marker(const Node* node, std::string_view name) { return op_name(node) == name; }

bool is_copy(const Node* node) {
  return is_op(node, {"to", "type_as", "float", "half", "bfloat16", "contiguous", "clone", "detach", "alias"}) ||
         is_op(node, {"dropout", "dropout_", "feature_dropout"}) || is_marker(node, "sinkscope::block_input") ||
         is_marker(node, "sinkscope::block_output") || is_marker(node, "sinkscope::stream_point") ||
         node->kind() == c10::prim::unchecked_cast;
}

std::int64_t element_of(const Node* marker) { return *constant_int(marker->input(2)); }

Value* tuple_element(Value* value) {
  Node* node = value->node();
  std::optional<std::int64_t> place;
  if (node->kind() == c10::prim::TupleUnpack) place = static_cast<std::int64_t>(value->offset());
  if (node->kind() == c10::prim::TupleIndex) place = constant_int(node->input(1));
  if (!place) return nullptr;
  Node* tuple = node->input(0)->node();
  if (tuple->kind() != c10::prim::TupleConstruct) return nullptr;
  const std::int64_t size = std::ssize(tuple->inputs());
  if (*place < 0) *place += size;
  return *place >= 0 && *place < size ? tuple->input(static_cast<std::size_t>(*place)) : nullptr;
}

Node* residual_input(Value* output, std::int64_t call, bool any_op) {
  std::deque<Value*> queue{output};
  std::unordered_set<Value*> seen{output};
  while (!queue.empty()) {
    Value* value = queue.front();
    queue.pop_front();
    Node* node = value->node();
    if (is_marker(node, "sinkscope::block_input") && call_of(node) == std::optional<std::int64_t>(call)) return node;
    std::vector<Value*> inputs;
    // A submodule may hand its own input on as an element of a tuple (a cast that changed nothing).
    if (Value* element = tuple_element(value)) inputs.push_back(element);
    if (is_copy(node) || is_op(node, {"add", "add_"}) || any_op)
      inputs.assign(node->inputs().begin(), node->inputs().end());
    if (node->kind() == c10::prim::If)
      for (jit::Block* branch : node->blocks())
        inputs.insert(inputs.end(), branch->outputs().begin(), branch->outputs().end());
    for (Value* input : inputs)
      if (is_tensor(input) && seen.insert(input).second) queue.push_back(input);
  }
  return nullptr;
}

bool is_result_of(Value* value, const Node* marker) {
  std::vector<Value*> stack{value};
  std::unordered_set<Value*> seen{value};
  while (!stack.empty()) {
    Value* at = stack.back();
    stack.pop_back();
    Node* node = at->node();
    if (node == marker) return true;
    std::vector<Value*> inputs;
    if (Value* element = tuple_element(at)) inputs.push_back(element);
    if (is_copy(node)) inputs.push_back(node->input(0));
    if (node->kind() == c10::prim::If)
      for (jit::Block* branch : node->blocks()) inputs.push_back(branch->outputs()[at->offset()]);
    for (Value* input : inputs)
      if (seen.insert(input).second) stack.push_back(input);
  }
  return false;
}

}  // namespace sinkscope
