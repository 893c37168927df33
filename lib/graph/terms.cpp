#include "graph/terms.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "graph/markers.h"
#include "graph/walk.h"

namespace sinkscope {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

bool is_constant(const Value* value) {
  return value->node()->kind() == c10::prim::Constant || value->node()->kind() == c10::prim::GetAttr;
}

bool is_scale(const Node* node) { return is_op(node, {"mul", "mul_", "div", "div_"}); }

namespace {

/// x.index_add(dim, index, more): experts write into the state like this.
bool is_scatter(const Node* node) {
  return is_op(node, {"index_add", "index_add_", "scatter_add", "scatter_add_"}) && node->inputs().size() > 3;
}

bool is_sum(const Node* node) {
  return is_scatter(node) || is_op(node, {"add", "add_", "sub", "sub_", "rsub", "addcmul", "addcmul_", "lerp", "lerp_",
                                          "addmm", "baddbmm", "_transformer_encoder_layer_fwd"});
}

/// One number for each position, as a norm written out uses: a reduction of the last dim.
bool is_statistic(Node* node) {
  if (is_op(node, {"rsqrt", "sqrt", "reciprocal"})) return true;
  if (!is_op(node, {"mean", "sum", "var", "std", "amax", "norm", "linalg_vector_norm"})) return false;
  for (Value* argument : node->inputs().slice(1))
    if (const auto dims = constant_ints(argument)) return *dims == std::vector<std::int64_t>{-1};
  return true;  // of everything
}

/// A tensor that is filled with one number, or counted.
bool is_filled(const Node* node) {
  return is_op(node, {"zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones",
                      "new_full", "arange"});
}

bool adds_nothing(Value* operand) {
  return !is_tensor(operand) || is_constant(operand) || is_statistic(operand->node());
}

}  // namespace

bool is_term(const jit::Use& use) {
  if (is_scatter(use.user)) return use.offset == 0 || use.offset == 3;
  if (is_op(use.user, {"addmm", "baddbmm", "_transformer_encoder_layer_fwd"})) return use.offset == 0;
  return is_sum(use.user) && use.offset < (is_op(use.user, {"addcmul", "addcmul_"}) ? 3 : 2);
}

namespace {

/// Whether two operands of a sum say something for every feature.
bool adds_up(Node* node) {
  if (!is_sum(node)) return false;
  const std::size_t operands = std::min<std::size_t>(node->inputs().size(), 3);
  const auto terms = node->inputs().slice(0, operands);
  return is_scatter(node) || is_op(node, {"_transformer_encoder_layer_fwd"}) ||
         operands - static_cast<std::size_t>(std::count_if(terms.begin(), terms.end(), adds_nothing)) >= 2;
}

/// Of whose inputs only the first is data, or a term of the result.
bool hands_on_first(const Node* node) {
  return is_copy(node) || is_op(node, {"layer_norm", "rms_norm", "batch_norm", "group_norm", "native_layer_norm"}) ||
         is_op(node, {"masked_fill", "masked_fill_", "clamp", "clamp_", "clamp_min", "clamp_max", "nan_to_num"}) ||
         is_op(node, {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "roll", "pad"}) ||
         is_op(node, {"transpose", "permute", "movedim", "slice", "narrow", "select", "index", "index_select"}) ||
         is_op(node, {"chunk", "split", "split_with_sizes", "unbind", "gather", "constant_pad_nd", "__getitem__"}) ||
         is_op(node, {"addmm", "baddbmm", "_transformer_encoder_layer_fwd"}) || node->kind() == c10::prim::ListUnpack ||
         node->kind() == c10::prim::TupleIndex;
}

bool hands_on_all(const Node* node) {
  return is_sum(node) || is_scale(node) || is_op(node, {"cat", "stack", "where"}) ||
         node->kind() == c10::prim::ListConstruct;
}

/// Inputs and inner results of which `value` consists.
std::vector<Value*> sources_of(Value* value) {
  Node* node = value->node();
  if (Value* element = tuple_element(value)) return {element};
  if (hands_on_first(node)) return {node->input(0)};
  if (is_scatter(node)) return {node->input(0), node->input(3)};
  if (hands_on_all(node)) return {node->inputs().begin(), node->inputs().end()};
  std::vector<Value*> sources;
  if (node->kind() == c10::prim::If) {
    for (jit::Block* branch : node->blocks()) sources.push_back(branch->outputs()[value->offset()]);
  } else if (node->kind() == c10::prim::Loop) {  // trip count, condition, state; the body returns condition, state
    sources = {node->input(value->offset() + 2), node->blocks()[0]->outputs()[value->offset() + 1]};
  } else if (node->kind() == c10::prim::Param && node->owningBlock()->owningNode() != nullptr &&
             node->owningBlock()->owningNode()->kind() == c10::prim::Loop && value->offset() > 0) {
    Node* loop = node->owningBlock()->owningNode();
    sources = {loop->input(value->offset() + 1), loop->blocks()[0]->outputs()[value->offset()]};
  }
  return sources;
}

}  // namespace

bool hands_on(const jit::Use& use) { return hands_on_first(use.user) ? use.offset == 0 : hands_on_all(use.user); }

Terms terms_of(Value* value) {
  Terms terms;
  std::vector<std::pair<Value*, bool>> stack{{value, false}};
  while (!stack.empty()) {
    const auto [at, summed] = stack.back();
    stack.pop_back();
    if (is_constant(at)) continue;
    const bool fresh = terms.all.insert(at).second;
    if (!(summed ? terms.summed.insert(at).second : fresh)) continue;
    for (Value* source : sources_of(at)) stack.emplace_back(source, summed || adds_up(at->node()));
  }
  return terms;
}

Value* nearest_term(Value* value, const std::unordered_set<Value*>& values) {
  std::deque<Value*> queue{value};
  std::unordered_set<Value*> seen{value};
  while (!queue.empty()) {
    Value* at = queue.front();
    queue.pop_front();
    if (values.count(at) > 0) return at;
    for (Value* source : sources_of(at))
      if (!is_constant(source) && seen.insert(source).second) queue.push_back(source);
  }
  return nullptr;
}

bool is_contribution(Value* value) {
  const Terms terms = terms_of(value);
  return std::any_of(terms.all.begin(), terms.all.end(), [](Value* term) {
    return sources_of(term).empty() && is_tensor(term) && !is_statistic(term->node()) && !is_filled(term->node());
  });
}

bool is_norm(const Node* node) { return is_op(node, {"layer_norm", "rms_norm", "batch_norm", "group_norm"}); }

Value* projected(Node* node) {
  if (is_op(node, {"linear", "matmul"}) && is_parameter(node->input(1))) return node->input(0);
  return is_op(node, {"addmm"}) && is_parameter(node->input(2)) ? node->input(1) : nullptr;
}

}  // namespace sinkscope
