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

/// The one of `states` that another term of the sum is made of in which a value is used.
Value* state_in(const jit::Use& use, const std::unordered_set<Value*>& states) {
  if (!is_term(use)) return nullptr;
  for (std::size_t i = 0; i < use.user->inputs().size(); ++i) {
    Value* other = use.user->input(i);
    if (i == use.offset || !is_tensor(other) || !is_term({use.user, i})) continue;
    if (Value* state = nearest_term(other, states)) return state;
  }
  return nullptr;
}

/// The node of the two that runs first; `first` may be null.
Node* earlier(Node* first, Node* second) { return first != nullptr && first->isBefore(second) ? first : second; }

bool holds(const Range& range, const Node* node) {
  return (range.end == nullptr || node->isBefore(range.end)) && (range.path == nullptr || range.path->count(node) > 0);
}

/// Nodes that use a state, directly, copied or scaled by a number or parameter.
std::vector<jit::Use> uses_of(Value* state, const Range& range) {
  const auto passes = [](const jit::Use& use) {
    if (is_scale(use.user)) return is_constant(use.user->input(1 - std::min<std::size_t>(use.offset, 1)));
    return use.offset == 0 && is_copy(use.user);
  };
  std::vector<jit::Use> found;
  std::deque<Value*> queue{state};
  std::unordered_set<Value*> seen{state};
  while (!queue.empty()) {
    Value* value = queue.front();
    queue.pop_front();
    for (const jit::Use& use : value->uses()) {
      if (holds(range, use.user)) found.push_back(use);
      for (Value* next : carried_by(use, passes))
        if (seen.insert(next).second) queue.push_back(next);
    }
  }
  return found;
}

/// The first sum of `state` and of something that was computed; null if there is none.
Node* next_sum(Value* state, const Range& range) {
  Node* sum = nullptr;
  for (const jit::Use& use : uses_of(state, range))
    if (is_term(use) && adds_contribution(use)) sum = earlier(sum, use.user);
  return sum;
}

/// The norms of a state.
std::vector<Value*> norms_of(Value* state, const Range& range) {
  std::vector<Value*> norms;
  for (const jit::Use& use : uses_of(state, range))
    if (use.offset == 0 && is_norm(use.user)) norms.push_back(use.user->output());
  return norms;
}

}  // namespace

std::optional<ResidualSum> sum_with(Value* part, const std::unordered_set<Value*>& states, Projections projections) {
  const auto passes = [projections](const jit::Use& use) {
    if (projections == Projections::pass && projected(use.user) == use.user->input(use.offset)) return true;
    return hands_on(use);
  };
  Node* sum = nullptr;
  Value* state = nullptr;
  std::deque<Value*> queue{part};
  std::unordered_set<Value*> seen{part};
  while (!queue.empty()) {
    Value* value = queue.front();
    queue.pop_front();
    for (const jit::Use& use : value->uses()) {
      if (Value* found = state_in(use, states)) {
        sum = earlier(sum, use.user);
        if (sum == use.user) state = found;
        continue;
      }
      for (Value* next : carried_by(use, passes))
        if (seen.insert(next).second) queue.push_back(next);
    }
  }
  return sum == nullptr ? std::nullopt : std::optional(ResidualSum{sum->output(), state});
}

Path path_to(const Value* value) {
  Path path;
  std::vector<const Node*> stack{value->node()};
  while (!stack.empty()) {
    const Node* node = stack.back();
    stack.pop_back();
    if (!path.insert(node).second) continue;
    for (const Value* input : node->inputs()) {
      stack.push_back(input->node());
      if (const Node* around = input->node()->owningBlock()->owningNode()) stack.push_back(around);
    }
    for (const jit::Block* block : node->blocks())
      for (const Value* output : block->outputs()) stack.push_back(output->node());
  }
  return path;
}

const Value* first_output(const jit::Graph& graph) {
  const Value* output = graph.outputs()[0];
  while (output->node()->kind() == c10::prim::TupleConstruct && !output->node()->inputs().empty())
    output = output->node()->input(0);
  return output;
}

Followed follow_sums(Value* state, const Range& range) {
  Followed followed{state, 0};
  bool post_norm = range.post_norm;
  while (!range.sums || followed.sums < *range.sums) {
    Node* sum = next_sum(followed.state, range);
    if (sum == nullptr) {
      for (Value* norm : norms_of(followed.state, range))
        if (sum == nullptr) sum = next_sum(norm, range);
      post_norm = post_norm || sum != nullptr;
    }
    if (sum == nullptr) break;
    followed = {sum->output(), followed.sums + 1};
  }
  const std::vector<Value*> norms = norms_of(followed.state, range);
  if (post_norm && norms.size() == 1) followed.state = norms.front();
  return followed;
}

}  // namespace sinkscope
