#include "graph/matrix_attention.h"

#include <fmt/format.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <unordered_set>

#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// The first product whose operands both depend on the input; `learned` if there is one where only one does.
std::optional<ScoreProduct> search_back(Value* value, std::unordered_set<Value*>& seen, bool& learned,
                                        std::vector<std::pair<Node*, Value*>>& way) {
  if (!is_tensor(value) || !seen.insert(value).second) return std::nullopt;
  Node* node = value->node();
  if (const auto product = product_of_activations(node)) {
    if (!depends_on_input(product->left) || !depends_on_input(product->right)) {
      learned = true;
      return std::nullopt;
    }
    ScoreProduct found{*product, {product->out_left, product->out_right}, product->rank};
    for (auto step = way.rbegin(); step != way.rend(); ++step)
      if (!carry_axes(step->first, step->second, found.axes, found.rank)) return std::nullopt;
    return found;
  }
  if (node->kind() == c10::prim::If) {  // a division that asks for the dtype first, as a traced `/` may become
    for (jit::Block* branch : node->blocks())
      if (const auto found = search_back(branch->outputs()[value->offset()], seen, learned, way)) return found;
    return std::nullopt;
  }
  for (Value* input : node->inputs()) {
    Axes axes;
    int rank = 0;
    if (!is_tensor(input) || !carry_axes(node, input, axes, rank)) continue;
    way.emplace_back(node, input);
    const auto found = search_back(input, seen, learned, way);
    way.pop_back();
    if (found) return found;
  }
  return std::nullopt;
}

/// What the probabilities meet.
struct ValueProduct {
  Product product;
  const Value* probabilities = nullptr;
  Value* weights = nullptr;  ///< the last tensor that holds the probabilities themselves
  Axes weights_axes;         ///< there: free dims of the score product's left and right operand
  Axes operand_axes;         ///< in the operand
  bool is_left = true;       ///< which operand the probabilities are
  bool sliced = false;       ///< a slice took the columns of the keys out
};

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

std::optional<ValueProduct> search_ahead(const ValueProduct& so_far, Value* value, Axes axes, int rank, bool drops_sink,
                                         std::string& met) {
  for (const jit::Use& use : value->uses()) {
    if (use.user->kind() != c10::prim::Return) continue;
    if (use.user->owningBlock()->owningNode() == nullptr) continue;  // a result of the model
    Value* output = behind_branches(use, so_far.probabilities);
    if (output == nullptr) {
      if (met.empty()) met = "a branch that may replace it";
      continue;
    }
    ValueProduct next = so_far;
    next.weights = output, next.weights_axes = axes;  // which branch ran is not known here
    if (const auto found = search_ahead(next, output, axes, rank, drops_sink, met)) return found;
  }
  for (Node* user : users_of(value)) {
    if (const auto product = product_of_activations(user)) {
      if (product->left != value && product->right != value) continue;
      ValueProduct found = so_far;
      found.product = *product, found.is_left = product->left == value, found.operand_axes = axes;
      const int inner = found.is_left ? product->left_inner : product->right_inner;
      const int free = found.is_left ? product->left_free : product->right_free;
      if ((inner == axes.rows && free == axes.columns) || (inner == axes.columns && free == axes.rows)) return found;
      continue;
    }
    if (user->outputs().size() != 1 || user->inputs().empty()) continue;
    ValueProduct next = so_far;
    Axes moved = axes;
    int moved_rank = rank;
    if (drops_sink && !so_far.sliced && (slices(user, axes.rows, rank) || slices(user, axes.columns, rank))) {
      next.sliced = true;
    } else if (!carry_weights(user, value, moved, moved_rank)) {
      if (met.empty()) met = user->kind().toQualString();
      continue;
    }
    // Where a mask follows the softmax, what it leaves is what meets the values.
    if (next.sliced != so_far.sliced || is_op(user, {"masked_fill", "masked_fill_", "where", "nan_to_num"}))
      next.weights = user->output(), next.weights_axes = moved;
    if (const auto found = search_ahead(next, user->output(), moved, moved_rank, drops_sink, met)) return found;
  }
  return std::nullopt;
}

/// The tensor that an operand was transposed from, so that a repetition of KV heads behind it is seen.
Value* before_transposition(Value* operand, Axes& axes, int rank) {
  Node* node = operand->node();
  if (!is_op(node, {"transpose", "mT", "permute"})) return operand;
  Axes swapped = axes;
  // Only a swap of the two dims itself: it is its own inverse.
  if (is_op(node, {"permute"}) || !carry_axes(node, node->input(0), swapped, rank) ||
      swapped != Axes{axes.columns, axes.rows})
    return operand;
  axes = swapped;
  return node->input(0);
}

/// The dim of the heads in [B, H, T, D] or [B, T, H, D].
int head_dim_of(const Axes& axes) { return axes.rows == -3 || axes.columns == -3 ? -2 : -3; }

/// Whether `value` is known where `node` stands: not one of a branch or loop that `node` is outside of.
bool is_in_scope(const Value* value, const Node* node) {
  for (const jit::Block* block = node->owningBlock(); block != nullptr;
       block = block->owningNode() != nullptr ? block->owningNode()->owningBlock() : nullptr)
    if (block == value->node()->owningBlock()) return true;
  return false;
}

/// Whether a merged dim is split into, or was made from, heads before sequences: view(H, B, ...) with a constant first.
bool heads_come_first(Value* output) {
  for (const jit::Use& use : output->uses()) {
    if (is_op(use.user, {"to", "contiguous", "dropout"})) {
      if (heads_come_first(use.user->output())) return true;
      continue;
    }
    if (!is_op(use.user, {"view", "reshape"}) || use.offset != 0) continue;
    Node* list = use.user->input(1)->node();
    if (list->kind() != c10::prim::ListConstruct || list->inputs().size() < 4) continue;
    const auto is_count = [](Value* v) {
      const auto constant = constant_int(v);
      return v->node()->kind() == c10::prim::GetAttr || (constant && *constant > 0);
    };
    return is_count(list->input(0)) && !is_count(list->input(1));
  }
  return false;
}

}  // namespace

std::optional<ScoreProduct> score_product_behind(Value* scores, bool* learned) {
  std::unordered_set<Value*> seen;
  std::vector<std::pair<Node*, Value*>> way;
  bool is_learned = false;
  const auto found = search_back(scores, seen, is_learned, way);
  if (learned != nullptr) *learned = is_learned;
  return found;
}

std::string origin_of(Value* scores) {
  Value* at = scores;
  Axes axes;
  for (int rank = 0; !at->node()->inputs().empty() && is_tensor(at->node()->input(0)) &&
                     carry_axes(at->node(), at->node()->input(0), axes, rank);
       axes = {})
    at = at->node()->input(0);
  if (at->node()->kind() == c10::prim::Param) return "an input of the model";
  if (at->node()->kind() == c10::prim::GetAttr) return "a parameter";
  return at->node()->kind().toQualString();
}

std::optional<Site> matrix_attention(const Normaliser& normaliser, std::string& problem) {
  const auto scores = score_product_behind(normaliser.scores);
  if (!scores) return std::nullopt;
  ValueProduct start;
  start.probabilities = start.weights = normaliser.probabilities;
  start.weights_axes = scores->axes;
  std::string met;
  const auto ahead =
      search_ahead(start, normaliser.probabilities, scores->axes, scores->rank, normaliser.drops_sink, met);
  if (!ahead) {
    problem = met.empty() ? "its output is not multiplied with a value tensor"
                          : fmt::format("its output goes through {} and is not multiplied with a value tensor", met);
    return std::nullopt;
  }
  if (normaliser.drops_sink && !ahead->sliced) {
    problem = "a column is put beside its scores, and no slice takes it away before the values";
    return std::nullopt;
  }
  const Product& values = ahead->product;
  const int inner = ahead->is_left ? values.left_inner : values.right_inner;
  // The dim that is summed over with the values is that of the keys; the other one that of the queries.
  const bool keys_are_right = inner == ahead->operand_axes.columns;
  const auto ordered = [&](const Axes& axes) { return keys_are_right ? axes : Axes{axes.columns, axes.rows}; };

  Site site;
  site.form = SiteForm::materialised;
  site.node = values.node;
  site.scores = normaliser.scores;
  site.weights = ahead->weights;
  if (ahead->sliced) site.with_sink = normaliser.probabilities;
  site.weights_axes = ordered(ahead->weights_axes);
  site.scores_axes = ordered(scores->axes);
  if (normaliser.dim) {
    const int keys = site.scores_axes.columns;
    const bool fits =
        *normaliser.dim == keys ||
        (*normaliser.dim >= 0 && (scores->rank > 0 ? *normaliser.dim - scores->rank == keys : *normaliser.dim >= 1));
    if (!fits) {
      problem = fmt::format("softmax over dimension {}, but the values are summed over another", *normaliser.dim);
      return std::nullopt;
    }
    site.softmax_dim = static_cast<int>(*normaliser.dim);
  }
  const Product& product = scores->product;
  site.query = keys_are_right ? product.left : product.right;
  Value* key = keys_are_right ? product.right : product.left;
  site.key_axes =
      keys_are_right ? Axes{product.right_free, product.right_inner} : Axes{product.left_free, product.left_inner};
  key = before_transposition(key, site.key_axes, product.rank);
  site.key = before_repetition(key, head_dim_of(site.key_axes));
  Value* value = ahead->is_left ? values.right : values.left;
  site.value_axes =
      ahead->is_left ? Axes{values.right_inner, values.right_free} : Axes{values.left_inner, values.left_free};
  value = before_transposition(value, site.value_axes, values.rank);
  site.value = before_repetition(value, head_dim_of(site.value_axes));
  site.output_axes = ahead->is_left ? Axes{values.out_left, values.out_right} : Axes{values.out_right, values.out_left};
  site.heads_first = heads_come_first(values.node->output());
  for (const Value* handed : {site.weights, site.scores, site.key, site.value})
    if (!is_in_scope(handed, values.node)) {
      problem = "its parts lie in a branch or loop that its values are outside of";
      return std::nullopt;
    }
  return site;
}

}  // namespace sinkscope
