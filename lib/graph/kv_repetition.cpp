#include "graph/kv_repetition.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <optional>

#include "graph/matrix_axes.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// The elements of a list of integers, constants as values of the graph.
std::vector<Value*> elements_of(Value* list) {
  if (list->node()->kind() == c10::prim::ListConstruct)
    return {list->node()->inputs().begin(), list->node()->inputs().end()};
  std::vector<Value*> elements;
  const jit::WithInsertPoint before(list->node());
  for (const std::int64_t number : constant_ints(list).value_or(std::vector<std::int64_t>()))
    elements.push_back(list->owningGraph()->insertConstant(number));
  return elements;
}

/// What was repeated along a new dim `dim` of five by a node that makes it; null if it does anything else.
Value* before_new_dim(Node* node, int dim) {
  const auto is_dim = [&](Value* value) {
    const auto number = constant_int(value);
    return number && (*number == dim || *number == dim + 5);
  };
  if (is_op(node, {"stack"})) {
    const auto copies = node->input(0)->node()->inputs();
    const bool same =
        !copies.empty() && std::all_of(copies.begin(), copies.end(), [&](Value* v) { return v == copies[0]; });
    return same && is_dim(node->input(1)) ? copies[0] : nullptr;
  }
  if (is_op(node, {"repeat", "tile"})) {
    const std::vector<Value*> times = elements_of(node->input(1));
    if (times.size() != 5) return nullptr;
    for (std::size_t i = 0; i < times.size(); ++i)
      if (static_cast<int>(i) != dim + 5 && constant_int(times[i]) != std::optional<std::int64_t>(1)) return nullptr;
  } else if (!is_op(node, {"expand", "broadcast_to"})) {
    return nullptr;
  }
  node = node->input(0)->node();
  // x[:, :, None, :, :] is traced as slices around one unsqueeze(2).
  while (keeps_everything(node)) node = node->input(0)->node();
  if (!is_op(node, {"unsqueeze"}) || !is_dim(node->input(1))) return nullptr;
  Value* source = node->input(0);
  while (keeps_everything(source->node())) source = source->node()->input(0);
  return source;
}

/// Whether a tensor has four dims for certain: it was made with four, or its first is kept by an expand to four.
bool has_four_dims(Value* value) {
  Node* node = value->node();
  if (is_op(node, {"view", "reshape"})) return elements_of(node->input(1)).size() == 4;
  if (is_op(node, {"transpose", "contiguous", "permute", "to", "slice", "add", "mul"}))
    return has_four_dims(node->input(0));
  return is_op(node, {"unsqueeze"}) && !is_parameter(node->input(0));
}

/// [B, 1, T, D].expand(B, H, T, D): the same without the repetition of the head.
Value* unexpanded(Node* node, int head) {
  const std::vector<Value*> sizes = elements_of(node->input(1));
  if (sizes.size() != 4) return nullptr;
  const std::optional<std::int64_t> kept(-1);
  const auto at = static_cast<std::size_t>(head + 4);
  if (constant_int(sizes[at]) == kept) return nullptr;
  if (constant_int(sizes[0]) != kept && !has_four_dims(node->input(0))) return nullptr;
  jit::Graph& graph = *node->owningGraph();
  const jit::WithInsertPoint before(node);
  std::vector<Value*> others = sizes;
  others[at] = graph.insertConstant(std::int64_t{-1});
  Value* list = graph.insertNode(graph.createList(c10::IntType::get(), others))->output();
  Value* source = graph.insert(c10::aten::expand, {node->input(0), list});
  source->node()->copyMetadata(node);
  return source;
}

/// Null if the heads, which stand in dim `head` of four, were not repeated.
Value* unrepeated(Value* value, int head) {
  Node* node = value->node();
  if (is_op(node, {"contiguous", "sinkscope::block_input"})) return unrepeated(node->input(0), head);
  if (is_op(node, {"repeat_interleave"})) {
    // A tensor of repeats may give every head another number.
    const bool evenly = node->inputs().size() >= 3 && node->input(1)->type()->kind() == c10::TypeKind::IntType;
    const auto dim = evenly ? constant_int(node->input(2)) : std::nullopt;
    return dim && (*dim == head || *dim == head + 4) ? node->input(0) : nullptr;
  }
  if (is_op(node, {"expand", "broadcast_to"})) return unexpanded(node, head);
  return is_op(node, {"reshape", "view", "flatten"}) ? before_new_dim(node->input(0)->node(), head) : nullptr;
}

/// [B, T, H, D] from [B, H, T, D] and back.
bool exchanges_heads_and_positions(const Node* node) {
  if (!is_op(node, {"transpose", "swapaxes", "swapdims", "permute"})) return false;
  Axes inner{-3, -2}, outer{-4, -1};
  int inner_rank = 4, outer_rank = 4;
  return carry_axes(node, node->input(0), inner, inner_rank) && inner == Axes{-2, -3} &&
         carry_axes(node, node->input(0), outer, outer_rank) && outer == Axes{-4, -1};
}

}  // namespace

Value* before_repetition(Value* value, int head) {
  if (Value* source = unrepeated(value, head)) return source;
  Node* node = value->node();
  while (is_op(node, {"contiguous", "sinkscope::block_input"})) node = node->input(0)->node();
  if ((head != -3 && head != -2) || !exchanges_heads_and_positions(node)) return value;
  Value* source = unrepeated(node->input(0), head == -3 ? -2 : -3);
  if (source == nullptr) return value;
  const jit::WithInsertPoint before(node);
  Value* exchanged = node->owningGraph()->insert(c10::aten::transpose, {source, std::int64_t{1}, std::int64_t{2}});
  exchanged->node()->copyMetadata(node);
  return exchanged;
}

}  // namespace sinkscope
