// Learned sinks: a column of sink logits is put beside the scores, the softmax takes both, a slice drops the column.
// The probabilities over the keys then sum to one minus that of the sink.

#include <algorithm>

#include "graph/idioms/idioms.h"
#include "graph/matrix_attention.h"
#include "graph/walk.h"

namespace sinkscope::idioms {

using torch::jit::Node;
using torch::jit::Value;

std::optional<LearnedSink> learned_sink_scores(Value* scores) {
  // combined - combined.max(): the same softmax.
  while (is_op(scores->node(), {"sub", "sub_", "to", "float", "contiguous", "type_as"}))
    scores = scores->node()->input(0);
  Node* cat = scores->node();
  if (!is_op(cat, {"cat", "concat"})) return std::nullopt;
  Node* list = cat->input(0)->node();
  if (list->kind() != c10::prim::ListConstruct || list->inputs().size() != 2) return std::nullopt;
  Value *first = list->input(0), *second = list->input(1);
  const auto of_first = score_product_behind(first), of_second = score_product_behind(second);
  if (of_first.has_value() == of_second.has_value()) return std::nullopt;
  const auto dim = constant_int(cat->input(1));
  const ScoreProduct& product = of_first ? *of_first : *of_second;
  const int at = dim ? from_end(*dim, product.rank) : 0;
  if (at != product.axes.rows && at != product.axes.columns) return std::nullopt;
  return LearnedSink{of_first ? first : second};
}

}  // namespace sinkscope::idioms
