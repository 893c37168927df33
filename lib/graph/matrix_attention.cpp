#include "graph/matrix_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "graph/kv_repetition.h"
#include "graph/score_product.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

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

/// Keys or values as a product takes them, before a transposition and a repetition of heads.
MatrixPart before_layout(Value* operand, Axes axes, int rank) {
  Value* value = before_transposition(operand, axes, rank);
  return {before_repetition(value, head_dim_of(axes)), axes};
}

MatrixPart keys_of(const ScoreProduct& scores, bool are_right) {
  const Operand& side = are_right ? scores.product.right : scores.product.left;
  return before_layout(side.value, {are_right ? scores.right.operand : scores.left.operand, side.inner},
                       scores.product.rank);
}

/// Only queries may be learned (Perceiver, DETR): keys that are learned alone are the experts of a router or the
/// classes of a head. Learned queries may also attend to themselves.
bool may_attend(const ScoreProduct& scores, bool keys_are_right, Value* values) {
  if (scores.of_activations()) return true;
  if (keys_are_right ? scores.right_depends : scores.left_depends) return depends_on_input(values);
  return !scores.left_depends && !scores.right_depends && !is_parameter(scores.product.left.value) &&
         !is_parameter(scores.product.right.value);
}

/// Whether a softmax over `dim`, as written, runs over the `keys` of scores of this rank.
bool runs_over(std::int64_t dim, int keys, int rank) {
  return dim == keys || (dim >= 0 && (rank > 0 ? dim - rank == keys : dim >= 1));
}

/// A score product with the value product in front of it.
struct Pair {
  ScoreProduct scores;
  ValueProduct values;

  /// The dim that is summed over with the values is that of the keys; the other one that of the queries.
  bool keys_are_right() const { return values.probabilities().inner == values.operand_axes.columns; }
  Axes ordered(const Axes& axes) const { return keys_are_right() ? axes : Axes{axes.columns, axes.rows}; }
  Axes weights_axes() const { return ordered(values.weights_axes); }
  Axes scores_axes() const { return ordered(scores.axes); }
  Axes output_axes() const { return {values.free.result, values.values().free.front().result}; }
};

/// Empty with the reason in `problem` if the products do not make attention.
std::optional<Pair> pair_of(const Normaliser& normaliser, const ScoreProduct& scores, std::string& problem) {
  std::string met;
  const auto values = value_product_ahead(normaliser, scores.axes, scores.rank, met);
  if (!values) {
    problem = met.empty() ? "its output is not multiplied with a value tensor"
                          : fmt::format("its output goes through {} and is not multiplied with a value tensor", met);
    return std::nullopt;
  }
  if (normaliser.drops_sink && !values->sliced) {
    problem = "a column is put beside its scores, and no slice takes it away before the values";
    return std::nullopt;
  }
  Pair pair{scores, *values};
  if (normaliser.dim && !runs_over(*normaliser.dim, pair.scores_axes().columns, scores.rank)) {
    problem = fmt::format("softmax over dimension {}, but the values are summed over another", *normaliser.dim);
    return std::nullopt;
  }
  if (!may_attend(scores, pair.keys_are_right(), values->values().value)) return std::nullopt;
  return pair;
}

/// What the products behind the scores say of the site: further parts of its keys, where queries and keys are
/// multiplied in several parts that are added, and another dim that may be that of the queries.
void add_others(Site& site, const Normaliser& normaliser, const Pair& pair, const std::vector<ScoreProduct>& all) {
  const bool keys_are_right = pair.keys_are_right();
  std::unordered_set<const Node*> parts{pair.scores.product.node};
  std::unordered_set<const Value*> keys{site.key};
  site.products.push_back(site.node);
  for (const ScoreProduct& other : all) {
    site.products.push_back(other.product.node);
    if (other.of_activations() && other.axes == pair.scores.axes && parts.insert(other.product.node).second) {
      const MatrixPart key = keys_of(other, keys_are_right);
      if (keys.insert(key.value).second) site.more_keys.push_back(key);
    }
    const bool same_keys = keys_are_right ? other.right.operand == pair.scores.right.operand
                                          : other.left.operand == pair.scores.left.operand;
    if (other.product.node != pair.scores.product.node || other.axes == pair.scores.axes || !same_keys) continue;
    std::string unused;
    const auto as_well = pair_of(normaliser, other, unused);
    if (as_well && as_well->values.product.node == site.node && as_well->keys_are_right() == keys_are_right)
      site.other_rows =
          QueryRows{as_well->output_axes().rows, as_well->weights_axes().rows, as_well->scores_axes().rows};
  }
}

Site site_of(const Normaliser& normaliser, const Pair& pair, const std::vector<ScoreProduct>& all) {
  Site site;
  site.form = SiteForm::materialised;
  const ValueProduct& values = pair.values;
  site.node = values.product.node;
  site.scores = normaliser.scores;
  site.weights = values.weights;
  if (values.sliced) site.with_sink = normaliser.probabilities;
  site.weights_axes = pair.weights_axes();
  site.scores_axes = pair.scores_axes();
  site.output_axes = pair.output_axes();
  if (normaliser.dim) site.softmax_dim = static_cast<int>(*normaliser.dim);
  const Product& product = pair.scores.product;
  site.query = pair.keys_are_right() ? product.left.value : product.right.value;
  const MatrixPart key = keys_of(pair.scores, pair.keys_are_right());
  site.key = key.value, site.key_axes = key.axes;
  const Operand& side = values.values();
  const MatrixPart value = before_layout(side.value, {side.inner, side.free.front().operand}, values.product.rank);
  site.value = value.value, site.value_axes = value.axes;
  add_others(site, normaliser, pair, all);
  return site;
}

bool parts_are_in_scope(const Site& site) {
  std::vector<const Value*> handed{site.weights, site.scores, site.key, site.value};
  for (const MatrixPart& key : site.more_keys) handed.push_back(key.value);
  return std::all_of(handed.begin(), handed.end(), [&](const Value* v) { return is_in_scope(v, site.node); });
}

}  // namespace

std::optional<Site> matrix_attention(const Normaliser& normaliser, std::string& problem) {
  const std::vector<ScoreProduct> all = score_products_behind(normaliser.scores);
  for (const ScoreProduct& scores : all) {
    std::string why;
    if (const auto pair = pair_of(normaliser, scores, why)) {
      Site site = site_of(normaliser, *pair, all);
      if (parts_are_in_scope(site)) return site;
      why = "its parts lie in a branch or loop that its values are outside of";
    }
    if (problem.empty() && scores.of_activations()) problem = why;
  }
  return std::nullopt;
}

}  // namespace sinkscope
