// Learned sinks: a column of sink logits is put beside the scores by cat or pad, the softmax takes both, a slice drops
// it. The probabilities over the keys then sum to one minus that of the sink.

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <vector>

#include "graph/idioms/idioms.h"
#include "graph/score_product.h"
#include "graph/walk.h"

namespace sinkscope::idioms {

using torch::jit::Node;
using torch::jit::Value;

namespace {

/// A tensor of scores with a column beside it, along one dim.
struct Column {
  Value* scores = nullptr;
  std::vector<ScoreProduct> products;  ///< behind the scores
  std::int64_t dim = -1;               ///< as written
};

/// cat(scores, logits), in either order.
std::optional<Column> by_cat(Node* node) {
  if (!is_op(node, {"cat", "concat"})) return std::nullopt;
  Node* list = node->input(0)->node();
  const auto dim = constant_int(node->input(1));
  if (!dim || list->kind() != c10::prim::ListConstruct || list->inputs().size() != 2) return std::nullopt;
  Column first{list->input(0), score_products_behind(list->input(0)), *dim};
  Column second{list->input(1), score_products_behind(list->input(1)), *dim};
  // Logits of a sink may themselves be a product, of queries with a parameter.
  const auto of_activations = [](const Column& c) {
    return !c.products.empty() && c.products.front().of_activations();
  };
  if (of_activations(first) != of_activations(second)) return of_activations(first) ? first : second;
  if (first.products.empty() != second.products.empty()) return first.products.empty() ? second : first;
  return std::nullopt;
}

/// pad(scores, (1, 0)) or (0, 1): one column of one logit.
std::optional<Column> by_pad(Node* node) {
  if (!is_op(node, {"pad", "constant_pad_nd"})) return std::nullopt;
  const auto widths = constant_ints(node->input(1));
  if (!widths || widths->size() < 2 || (*widths)[0] + (*widths)[1] != 1 || (*widths)[0] * (*widths)[1] != 0 ||
      std::any_of(widths->begin() + 2, widths->end(), [](std::int64_t width) { return width != 0; }))
    return std::nullopt;
  if (is_op(node, {"pad"})) {
    const auto mode = torch::jit::toIValue(node->input(2));
    if (!mode || !mode->isString() || mode->toStringRef() != "constant") return std::nullopt;
  }
  return Column{node->input(0), score_products_behind(node->input(0)), -1};
}

}  // namespace

std::optional<LearnedSink> learned_sink_scores(Value* scores) {
  // combined - combined.max(): the same softmax.
  while (is_op(scores->node(), {"sub", "sub_", "to", "float", "contiguous", "type_as"}))
    scores = scores->node()->input(0);
  auto column = by_cat(scores->node());
  if (!column) column = by_pad(scores->node());
  if (!column) return std::nullopt;
  const bool is_column =
      std::any_of(column->products.begin(), column->products.end(), [&](const ScoreProduct& product) {
        const int at = from_end(column->dim, product.rank);
        return at == product.axes.rows || at == product.axes.columns;
      });
  return is_column ? std::optional(LearnedSink{column->scores}) : std::nullopt;
}

}  // namespace sinkscope::idioms
