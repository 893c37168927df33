// Hand-written softmax attention. The probabilities are a tensor of the model, so the statistics are read from them:
// any element-wise term between product and softmax (scale, masks, soft cap, ALiBi, relative positions) is then
// accounted for.

#include <fmt/format.h>

#include <unordered_set>

#include "graph/idioms/idioms.h"
#include "graph/walk.h"

namespace sinkscope::idioms {
namespace {

using torch::jit::Node;
using torch::jit::Value;

/// Element-wise terms and casts that may stand between the product and the softmax.
bool is_score_term(const Node* node) {
  return is_op(node, {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "masked_fill", "masked_fill_",
                      "where", "tanh", "to", "float", "type_as", "contiguous", "clamp", "maximum", "dropout"});
}

/// The product of two activations that the scores come from, searched through element-wise terms only.
Node* product_behind(Value* scores, std::unordered_set<Value*>& seen) {
  if (!is_tensor(scores) || !seen.insert(scores).second) return nullptr;
  Node* node = scores->node();
  if (is_product_of_activations(node)) return node;
  if (!is_score_term(node)) return nullptr;
  for (Value* input : node->inputs())
    if (Node* found = product_behind(input, seen)) return found;
  return nullptr;
}

/// The product with a value tensor that consumes the probabilities, through casts and dropout.
Node* product_ahead(Value* weights) {
  for (const torch::jit::Use& use : weights->uses()) {
    Node* user = use.user;
    if (is_product_of_activations(user) && left_operand(user) == weights) return user;
    if (is_op(user, {"to", "dropout", "type_as", "contiguous", "float", "half"}) && use.offset == 0)
      if (Node* found = product_ahead(user->output())) return found;
  }
  return nullptr;
}

bool goes_to_topk(Value* weights) {
  for (const torch::jit::Use& use : weights->uses()) {
    if (is_op(use.user, {"topk"})) return true;
    if (is_op(use.user, {"to", "float", "type_as"}) && goes_to_topk(use.user->output())) return true;
  }
  return false;
}

/// x.transpose(-1, -2) of a rank-4 tensor, in any spelling.
bool swaps_last_two(const Node* node) {
  if (!is_op(node, {"transpose"})) return false;
  const auto from_end = [&](std::size_t input) {
    const auto dim = constant_int(node->input(input));
    return !dim ? 0 : *dim >= 2 ? *dim - 4 : *dim;
  };
  return (from_end(1) == -1 && from_end(2) == -2) || (from_end(1) == -2 && from_end(2) == -1);
}

}  // namespace

std::optional<Site> softmax(Node* node, LeftAlone* reason) {
  if (!is_op(node, {"softmax", "_softmax"})) return std::nullopt;
  const auto left_alone = [&](bool looks_like_attention, std::string why) -> std::optional<Site> {
    if (reason != nullptr)
      *reason = {node->scopeName(), "aten::" + std::string(op_name(node)), std::move(why), looks_like_attention};
    return std::nullopt;
  };
  if (goes_to_topk(node->output())) return left_alone(false, "router: output goes to topk");
  std::unordered_set<Value*> seen;
  Node* product = product_behind(node->input(0), seen);
  if (product == nullptr) return left_alone(false, "its input is no product of two activations");
  const auto dim = constant_int(node->input(1));
  if (!dim || (*dim != -1 && *dim < 2))
    return left_alone(
        true, fmt::format("softmax over dimension {}, not the last", dim ? std::to_string(*dim) : "(not constant)"));
  Node* output = product_ahead(node->output());
  if (output == nullptr) return left_alone(true, "its output is not multiplied with a value tensor");
  if (!is_op(product, {"matmul"}) || !is_op(output, {"matmul"}))
    return left_alone(
        true, fmt::format("built with {} and {}; only matmul is recognised", op_name(product), op_name(output)));

  Site site;
  site.form = SiteForm::materialised;
  site.node = output;
  site.scores = node->input(0);
  site.weights = node->output();
  site.query = left_operand(product);
  Value* key = right_operand(product);
  if (swaps_last_two(key->node())) {
    site.key = before_repetition(key->node()->input(0));
  } else {
    site.key = key;
    site.key_is_transposed = true;
  }
  site.value = before_repetition(right_operand(output));
  site.info.pattern = "softmax";
  return site;
}

}  // namespace sinkscope::idioms
