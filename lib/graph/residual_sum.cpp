#include "graph/residual_sum.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "graph/markers.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

bool is_sum(const Node* node) {
  return is_op(node, {"add", "add_", "sub", "sub_", "rsub", "addcmul", "addcmul_", "lerp", "lerp_", "addmm", "baddbmm",
                      "_transformer_encoder_layer_fwd"});
}

/// Whether a use of a value makes it a term of a sum, rather than a factor of one.
bool is_term(const jit::Use& use) {
  if (is_op(use.user, {"addmm", "baddbmm", "_transformer_encoder_layer_fwd"})) return use.offset == 0;
  return is_sum(use.user) && use.offset < (is_op(use.user, {"addcmul", "addcmul_"}) ? 3 : 2);
}

bool is_scale(const Node* node) { return is_op(node, {"mul", "mul_", "div", "div_"}); }

/// Of whose inputs only the first is data, or a term of the result.
bool hands_on_first(const Node* node) {
  return is_op(node, {"to",
                      "type_as",
                      "float",
                      "half",
                      "bfloat16",
                      "contiguous",
                      "clone",
                      "detach",
                      "alias",
                      "dropout",
                      "dropout_",
                      "feature_dropout",
                      "layer_norm",
                      "rms_norm",
                      "batch_norm",
                      "group_norm",
                      "native_layer_norm",
                      "masked_fill",
                      "masked_fill_",
                      "clamp",
                      "clamp_",
                      "clamp_min",
                      "clamp_max",
                      "nan_to_num",
                      "view",
                      "reshape",
                      "flatten",
                      "unflatten",
                      "transpose",
                      "permute",
                      "squeeze",
                      "unsqueeze",
                      "expand",
                      "slice",
                      "narrow",
                      "select",
                      "index",
                      "index_select",
                      "gather",
                      "roll",
                      "pad",
                      "constant_pad_nd",
                      "chunk",
                      "split",
                      "split_with_sizes",
                      "unbind",
                      "movedim",
                      "__getitem__",
                      "addmm",
                      "baddbmm",
                      "_transformer_encoder_layer_fwd"}) ||
         is_marker(node, "sinkscope::block_input") || is_marker(node, "sinkscope::block_output") ||
         node->kind() == c10::prim::ListUnpack || node->kind() == c10::prim::TupleIndex;
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

bool is_constant(const Value* value) {
  return value->node()->kind() == c10::prim::Constant || value->node()->kind() == c10::prim::GetAttr;
}

/// A number for each position rather than for each feature, as a norm written out uses.
bool is_statistic(const Node* node) {
  return is_op(node, {"mean", "sum", "var", "std", "var_mean", "std_mean", "amax", "max", "norm", "linalg_vector_norm",
                      "rsqrt", "sqrt", "pow", "square", "reciprocal"});
}

/// Whether something that a block computed is among the terms of `value`, not only numbers, parameters and statistics.
bool is_contribution(Value* value) {
  const Terms terms = terms_of(value);
  return std::any_of(terms.all.begin(), terms.all.end(), [](Value* term) {
    return sources_of(term).empty() && is_tensor(term) && !is_statistic(term->node());
  });
}

/// Whether another operand of a sum is one.
bool adds_contribution(const jit::Use& use) {
  for (std::size_t i = 0; i < use.user->inputs().size(); ++i)
    if (i != use.offset && is_tensor(use.user->input(i)) && is_contribution(use.user->input(i))) return true;
  return false;
}

/// The results of a use that are its input, changed at most as `passes` allows.
template <class Passes>
std::vector<Value*> carried_by(const jit::Use& use, const Passes& passes) {
  Node* node = use.user;
  if (passes(use)) return {node->outputs().begin(), node->outputs().end()};
  std::vector<Value*> results;
  if (node->kind() == c10::prim::TupleConstruct) {
    for (const jit::Use& unpack : node->output()->uses())
      if (unpack.user->kind() == c10::prim::TupleUnpack) results.push_back(unpack.user->outputs()[use.offset]);
  } else if (node->kind() == c10::prim::Return && node->owningBlock()->owningNode() != nullptr &&
             node->owningBlock()->owningNode()->kind() == c10::prim::If) {
    results.push_back(node->owningBlock()->owningNode()->outputs()[use.offset]);
  }
  return results;
}

/// Another term of the sum that a value is used in, if it is made of one of `states`.
Value* state_in(const jit::Use& use, const std::unordered_set<Value*>& states) {
  if (!is_term(use)) return nullptr;
  for (std::size_t i = 0; i < use.user->inputs().size(); ++i) {
    Value* other = use.user->input(i);
    if (i == use.offset || !is_tensor(other) || !is_term({use.user, i})) continue;
    const Terms terms = terms_of(other);
    if (std::any_of(states.begin(), states.end(), [&](Value* state) { return terms.all.count(state) > 0; }))
      return other;
  }
  return nullptr;
}

/// The sum of `state` and of something that was computed, directly or scaled by a number or parameter.
Value* next_sum(Value* state, const Node* end) {
  const auto passes = [](const jit::Use& use) {
    if (is_scale(use.user)) return is_constant(use.user->input(1 - std::min<std::size_t>(use.offset, 1)));
    return use.offset == 0 &&
           (is_op(use.user,
                  {"to", "type_as", "float", "half", "bfloat16", "contiguous", "clone", "dropout", "dropout_"}) ||
            is_marker(use.user, "sinkscope::block_input") || is_marker(use.user, "sinkscope::block_output"));
  };
  std::deque<Value*> queue{state};
  std::unordered_set<Value*> seen{state};
  while (!queue.empty()) {
    Value* value = queue.front();
    queue.pop_front();
    for (const jit::Use& use : value->uses()) {
      if (end != nullptr && !use.user->isBefore(end)) continue;
      if (is_term(use) && adds_contribution(use)) return use.user->output();
      for (Value* next : carried_by(use, passes))
        if (seen.insert(next).second) queue.push_back(next);
    }
  }
  return nullptr;
}

}  // namespace

Terms terms_of(Value* value) {
  Terms terms;
  std::vector<std::pair<Value*, bool>> stack{{value, false}};
  while (!stack.empty()) {
    const auto [at, summed] = stack.back();
    stack.pop_back();
    if (is_constant(at)) continue;
    const bool fresh = terms.all.insert(at).second;
    if (!(summed ? terms.summed.insert(at).second : fresh)) continue;
    for (Value* source : sources_of(at)) stack.emplace_back(source, summed || is_sum(at->node()));
  }
  return terms;
}

Value* projected(Node* node) {
  if (is_op(node, {"linear", "matmul"}) && is_parameter(node->input(1))) return node->input(0);
  return is_op(node, {"addmm"}) && is_parameter(node->input(2)) ? node->input(1) : nullptr;
}

std::optional<ResidualSum> sum_with(Value* part, const std::unordered_set<Value*>& states, Projections projections) {
  const auto passes = [projections](const jit::Use& use) {
    if (projections == Projections::pass && projected(use.user) == use.user->input(use.offset)) return true;
    return hands_on_first(use.user) ? use.offset == 0 : hands_on_all(use.user);
  };
  std::deque<Value*> queue{part};
  std::unordered_set<Value*> seen{part};
  while (!queue.empty()) {
    Value* value = queue.front();
    queue.pop_front();
    for (const jit::Use& use : value->uses()) {
      if (Value* state = state_in(use, states)) return ResidualSum{use.user->output(), state};
      for (Value* next : carried_by(use, passes))
        if (seen.insert(next).second) queue.push_back(next);
    }
  }
  return std::nullopt;
}

Value* last_sum(Value* state, const Node* end) {
  while (Value* next = next_sum(state, end)) state = next;
  return state;
}

}  // namespace sinkscope
