#include "graph/value_product.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <vector>

#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// x[..., :-1], x[..., 1:], x[..., :n], narrow(x, -1, ...): along `axis` only.
bool slices(const Node* node, int axis, int rank) {
  if (!is_op(node, {"slice", "narrow"}) || keeps_everything(node)) return false;
  const auto dim = constant_int(node->input(1));
  return dim && from_end(*dim, rank) == axis;
}

/// The operators that take `value`, also as an element of a list.
std::vector<Node*> users_of(Value* value) {
  std::vector<Node*> users;
  for (const jit::Use& use : value->uses()) {
    if (use.user->kind() != c10::prim::ListConstruct) {
      users.push_back(use.user);
      continue;
    }
    for (const jit::Use& of_list : use.user->output()->uses()) users.push_back(of_list.user);
  }
  return users;
}

/// Whether `value` is `probabilities` or what may follow them without changing what a probability is.
bool leads_back(Value* value, const Value* probabilities) {
  while (value != probabilities) {
    Node* node = value->node();
    if (node->kind() == c10::prim::Uninitialized) return true;  // of a branch that raises
    if (node->kind() == c10::prim::If)
      return std::all_of(node->blocks().begin(), node->blocks().end(), [&](jit::Block* branch) {
        return leads_back(branch->outputs()[value->offset()], probabilities);
      });
    Axes axes;
    int rank = 0;
    if (node->inputs().empty() || !carry_weights(node, node->input(0), axes, rank)) return false;
    value = node->input(0);
  }
  return true;
}

/// What a branch hands on in place of `value`, if every branch hands on the probabilities.
Value* behind_branches(const jit::Use& end, const Value* probabilities) {
  Node* owner = end.user->owningBlock()->owningNode();
  if (owner->kind() != c10::prim::If) return nullptr;
  Value* output = owner->output(end.offset);
  return leads_back(output, probabilities) ? output : nullptr;
}

/// x * 0.5, x / 2: the same factor for all; in place it would change the probabilities themselves.
bool scales(const Node* node, const Value* from) {
  return is_op(node, {"mul", "div"}) && node->input(0) == from && is_constant_number(node->input(1));
}

struct Search {
  const Normaliser& normaliser;
  bool of_input = true;  ///< only values that depend on the input
  std::string& met;
};

/// Whether the product sums over one dim of the matrix and keeps the other; both are then noted in `found`.
bool fits(ValueProduct& found, const Search& search) {
  const Operand &side = found.probabilities(), &values = found.values();
  if (values.free.size() != 1 || (search.of_input && !depends_on_input(values.value))) return false;
  const Axes& axes = found.operand_axes;
  if (side.inner != axes.rows && side.inner != axes.columns) return false;
  const int queries = side.inner == axes.rows ? axes.columns : axes.rows;
  const auto free =
      std::find_if(side.free.begin(), side.free.end(), [&](const FreeDim& dim) { return dim.operand == queries; });
  if (free == side.free.end()) return false;
  found.free = *free;
  return true;
}

/// How far the search has come.
struct Place {
  ValueProduct so_far;
  Value* value = nullptr;  ///< of the probabilities, or of what they have become
  Axes axes;
  int rank = 0;
};

/// Behind the operator `user`; empty if it changes what a probability is.
std::optional<Place> behind(const Place& place, Node* user, const Normaliser& normaliser) {
  if (user->outputs().size() != 1 || user->inputs().empty()) return std::nullopt;
  const bool sums = normaliser.dim.has_value();
  const bool slice = normaliser.drops_sink && !place.so_far.sliced &&
                     (slices(user, place.axes.rows, place.rank) || slices(user, place.axes.columns, place.rank));
  const bool scale = scales(user, place.value);
  Place next = place;
  next.value = user->output();
  if (!slice && !scale && !carry_weights(user, place.value, next.axes, next.rank)) return std::nullopt;
  next.so_far.sliced = place.so_far.sliced || slice;
  next.so_far.scaled = place.so_far.scaled || (scale && sums);
  // Where a mask follows the softmax, what it leaves is what meets the values; weights of any sum meet them scaled.
  if (slice || (scale && !sums) || is_op(user, {"masked_fill", "masked_fill_", "where", "nan_to_num"})) {
    if (place.so_far.scaled) return std::nullopt;  // it would leave neither probabilities nor the factor
    next.so_far.weights = next.value, next.so_far.weights_axes = next.axes;
  }
  return next;
}

std::optional<ValueProduct> search_ahead(const Place& place, const Search& search) {
  const auto blocked_by = [&](const char* what) {
    if (search.met.empty()) search.met = what;
  };
  for (const jit::Use& use : place.value->uses()) {
    if (use.user->kind() != c10::prim::Return) continue;
    if (use.user->owningBlock()->owningNode() == nullptr) continue;  // a result of the model
    Place next = place;
    next.value = behind_branches(use, search.normaliser.probabilities);
    if (next.value == nullptr) {
      blocked_by("a branch that may replace it");
      continue;
    }
    next.so_far.weights = next.value, next.so_far.weights_axes = place.axes;  // which branch ran is not known here
    if (const auto found = search_ahead(next, search)) return found;
  }
  for (Node* user : users_of(place.value)) {
    if (const auto product = product_of_activations(user)) {
      if (product->left.value != place.value && product->right.value != place.value) continue;
      ValueProduct found = place.so_far;
      found.product = *product, found.is_left = product->left.value == place.value, found.operand_axes = place.axes;
      if (fits(found, search)) return found;
    } else if (const auto next = behind(place, user, search.normaliser)) {
      if (const auto found = search_ahead(*next, search)) return found;
    } else if (user->outputs().size() == 1 && !user->inputs().empty()) {
      blocked_by(user->kind().toQualString());
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<ValueProduct> value_product_ahead(const Normaliser& normaliser, const Axes& axes, int rank,
                                                std::string& met) {
  Place start{{}, normaliser.probabilities, axes, rank};
  start.so_far.weights = normaliser.probabilities, start.so_far.weights_axes = axes;
  for (const bool of_input : {true, false})
    if (const auto found = search_ahead(start, {normaliser, of_input, met})) return found;
  return std::nullopt;
}

}  // namespace sinkscope
