#include "graph/matrix_axes.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <vector>

#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

constexpr int kUsualRank = 4;  // [B, H, Q, K]

bool is_cast(const Node* node) {
  return is_op(node, {"to", "float", "half", "double", "bfloat16", "type_as", "contiguous", "clone", "detach",
                      "dropout", "dropout_", "alias", "sinkscope::block_input", "sinkscope::block_output"});
}

bool is_term(const Node* node) {
  return is_op(node, {"add",         "add_",         "sub",        "sub_",   "rsub",         "mul",
                      "mul_",        "div",          "div_",       "tanh",   "tanh_",        "clamp",
                      "clamp_",      "clamp_min",    "clamp_max",  "clip",   "maximum",      "minimum",
                      "masked_fill", "masked_fill_", "where",      "neg",    "true_divide",  "multiply",
                      "divide",      "subtract",     "nan_to_num", "conv2d", "_convolution", "convolution",
                      "addcmul",     "relu",         "softplus",   "pow",    "pad",          "constant_pad_nd"});
}

int list_length(const Value* list) {
  const Node* node = list->node();
  if (node->kind() == c10::prim::ListConstruct) return static_cast<int>(node->inputs().size());
  const auto constant = jit::toIValue(list);
  return constant && constant->isIntList() ? static_cast<int>(constant->toIntVector().size()) : 0;
}

/// x.view(...) that keeps the last two dims, which the run confirms by their sizes.
bool carry_view(const Node* node, const Axes& axes, int& rank) {
  if (axes != Axes{-2, -1} && axes != Axes{-1, -2}) return false;
  if (is_op(node, {"view", "reshape", "_unsafe_view"})) {
    rank = list_length(node->input(1));
    return rank == 0 || rank >= 3;
  }
  if (is_op(node, {"flatten"})) {
    const auto end = constant_int(node->input(2));
    rank = 0;
    return end && *end >= 0 && *end <= 1;  // leading dims only
  }
  if (is_op(node, {"unflatten"})) {
    const auto dim = constant_int(node->input(1));
    rank = 0;
    return dim && *dim == 0;
  }
  if (is_op(node, {"expand", "expand_as", "repeat"})) {
    rank = 0;
    return true;
  }
  return false;
}

bool carry_transpose(const Node* node, Axes& axes, int& rank) {
  if (is_op(node, {"transpose", "swapaxes", "swapdims"})) {
    const auto first = constant_int(node->input(1)), second = constant_int(node->input(2));
    if (!first || !second) return false;
    const int a = from_end(*first, rank), b = from_end(*second, rank);
    for (int* axis : {&axes.rows, &axes.columns}) *axis = *axis == a ? b : *axis == b ? a : *axis;
    return true;
  }
  if (is_op(node, {"mT"})) {
    for (int* axis : {&axes.rows, &axes.columns}) *axis = *axis == -1 ? -2 : *axis == -2 ? -1 : *axis;
    return true;
  }
  if (is_op(node, {"permute"})) {
    const std::vector<std::int64_t> order = constant_ints(node->input(1)).value_or(std::vector<std::int64_t>());
    rank = static_cast<int>(order.size());
    Axes moved{0, 0};
    for (int to = -rank; to < 0; ++to) {
      const int origin = from_end(order[static_cast<std::size_t>(to + rank)], rank);
      if (origin == axes.rows) moved.rows = to;
      if (origin == axes.columns) moved.columns = to;
    }
    axes = moved;
    return axes.rows < 0 && axes.columns < 0;
  }
  return false;
}

/// A dim of size one in front of both axes comes or goes.
bool carry_unit_dim(const Node* node, const Axes& axes, int& rank) {
  if (!is_op(node, {"unsqueeze", "squeeze"}) || node->inputs().size() < 2) return false;
  const auto dim = constant_int(node->input(1));
  const bool adds = is_op(node, {"unsqueeze"});
  if (!dim || (*dim < 0 && *dim >= std::min(axes.rows, axes.columns)) || *dim > 1) return false;
  if (rank > 0) rank += adds ? 1 : -1;
  return true;
}

bool carry_shape(const Node* node, const Value* from, Axes& axes, int& rank) {
  if (node->input(0) != from) return false;
  return keeps_everything(node) || carry_transpose(node, axes, rank) || carry_unit_dim(node, axes, rank) ||
         carry_view(node, axes, rank);
}

}  // namespace

int from_end(std::int64_t dim, int rank) {
  if (dim < 0) return static_cast<int>(dim);
  return static_cast<int>(dim) - (rank > 0 ? rank : kUsualRank);
}

bool carry_axes(const Node* node, const Value* from, Axes& axes, int& rank) {
  return is_term(node) || is_cast(node) || carry_shape(node, from, axes, rank);
}

bool carry_weights(const Node* node, const Value* from, Axes& axes, int& rank) {
  if (is_op(node, {"masked_fill", "masked_fill_", "nan_to_num"})) return node->input(0) == from;
  if (is_op(node, {"where"})) return node->input(1) == from || node->input(2) == from;
  return is_cast(node) || carry_shape(node, from, axes, rank);
}

}  // namespace sinkscope
