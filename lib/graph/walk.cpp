#include "graph/walk.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <limits>

namespace sinkscope {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

std::string_view op_name(const Node* node) {
  const std::string_view full = node->kind().toQualString();
  return full.substr(0, 6) == "aten::" ? full.substr(6) : full;
}

bool is_op(const Node* node, std::initializer_list<std::string_view> aten_names) {
  return std::find(aten_names.begin(), aten_names.end(), op_name(node)) != aten_names.end();
}

std::string module_of(Node* node) {
  const jit::ScopePtr scope = node->scope();
  return scope->isRoot() ? std::string() : scope->name().toUnqualString();
}

std::string called_as(Node* node) {
  const jit::ScopePtr scope = node->scope();
  if (scope->isRoot() || scope->parent()->isRoot()) return module_of(node);
  return scope->parent()->name().toUnqualString();
}

bool is_softmax(const Node* node) { return is_op(node, {"softmax", "_softmax", "_safe_softmax", "_masked_softmax"}); }

std::optional<std::int64_t> constant_int(const Value* value) {
  const auto constant = jit::toIValue(value);
  if (!constant || !constant->isInt()) return std::nullopt;
  return constant->toInt();
}

std::optional<double> constant_number(const Value* value) {
  const auto constant = jit::toIValue(value);
  if (!constant || !(constant->isInt() || constant->isDouble())) return std::nullopt;
  return constant->toScalar().toDouble();
}

std::optional<std::vector<std::int64_t>> constant_ints(const Value* list) {
  if (const auto constant = jit::toIValue(list))
    return constant->isIntList() ? std::optional(constant->toIntVector()) : std::nullopt;
  if (list->node()->kind() != c10::prim::ListConstruct) return std::nullopt;
  std::vector<std::int64_t> numbers;
  for (const Value* element : list->node()->inputs()) {
    const auto number = constant_int(element);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

bool is_constant_number(const Value* value) {
  if (constant_number(value)) return true;
  const auto constant = jit::toIValue(value);
  return constant && constant->isTensor() && constant->toTensor().numel() == 1;
}

bool is_tensor(const Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

bool is_parameter(Value* value) {
  while (is_op(value->node(), {"t", "transpose", "permute", "to", "contiguous", "detach", "expand", "type_as"}) ||
         is_op(value->node(), {"unsqueeze", "view", "reshape", "numpy_T", "sinkscope::block_input"}))
    value = value->node()->input(0);
  return value->node()->kind() == c10::prim::GetAttr;
}

bool keeps_everything(const Node* node) {
  if (!is_op(node, {"slice"})) return false;
  const auto begin = jit::toIValue(node->input(2)), end = jit::toIValue(node->input(3)),
             step = jit::toIValue(node->input(4));
  return begin && (begin->isNone() || (begin->isInt() && begin->toInt() == 0)) && end &&
         (end->isNone() || (end->isInt() && end->toInt() == std::numeric_limits<std::int64_t>::max())) && step &&
         step->isInt() && step->toInt() == 1;
}

void for_each_node(jit::Block* block, const std::function<void(Node*, int)>& visit, int depth) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;  // advance first: the visitor may destroy the node
    for (jit::Block* inner : node->blocks()) for_each_node(inner, visit, depth + 1);
    visit(node, depth);
  }
}

std::vector<Node*> writes_into(Value* tensor) {
  std::vector<Node*> writes;
  if (!is_tensor(tensor)) return writes;
  for (const auto& use : tensor->uses()) {
    if (use.offset != 0 || use.user->outputs().size() != 1) continue;
    const std::string name = use.user->kind().toUnqualString();
    if (name.ends_with("_") && !name.ends_with("__")) {
      writes.push_back(use.user);
    } else if (is_op(use.user, {"slice", "select", "narrow", "view", "transpose", "unsqueeze", "squeeze", "permute"})) {
      for (Node* inner : writes_into(use.user->output())) writes.push_back(inner);
    }
  }
  return writes;
}

std::vector<Value*> written_into(Value* tensor) {
  std::vector<Value*> written;
  for (Node* write : writes_into(tensor))
    for (Value* input : write->inputs().slice(1)) written.push_back(input);
  return written;
}

}  // namespace sinkscope
