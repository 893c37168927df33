// Hand-written softmax attention. The probabilities are a tensor of the model, so the statistics are read from them:
// any element-wise term between product and softmax (scale, masks, soft cap, ALiBi, relative positions) is then
// accounted for.

#include <fmt/format.h>

#include "graph/idioms/idioms.h"
#include "graph/matrix_attention.h"
#include "graph/resemblance.h"
#include "graph/walk.h"

namespace sinkscope::idioms {
namespace {

using torch::jit::Node;
using torch::jit::Value;

bool goes_to_topk(Value* weights) {
  for (const torch::jit::Use& use : weights->uses()) {
    if (is_op(use.user, {"topk"})) return true;
    if (is_op(use.user, {"to", "float", "type_as", "add", "view", "reshape"}) && goes_to_topk(use.user->output()))
      return true;
  }
  return false;
}

/// The softmax that a node completes: itself, or exp of a log_softmax.
Node* softmax_of(Node* node) {
  if (is_op(node, {"softmax", "_softmax"})) return node;
  if (!is_op(node, {"exp"})) return nullptr;
  Node* inner = node->input(0)->node();
  return is_op(inner, {"log_softmax", "_log_softmax"}) ? inner : nullptr;
}

}  // namespace

std::optional<Site> softmax(Node* node, LeftAlone* reason) {
  Node* normaliser = softmax_of(node);
  if (normaliser == nullptr) return std::nullopt;
  const auto left_alone = [&](bool looks_like_attention, std::string why) -> std::optional<Site> {
    if (reason != nullptr)
      *reason = {node->scopeName(), normaliser->kind().toQualString(), std::move(why), looks_like_attention};
    return std::nullopt;
  };
  Value* scores = normaliser->input(0);
  const auto dim = constant_int(normaliser->input(1));
  std::string problem;
  std::optional<Site> site;
  if (const auto combined = learned_sink_scores(scores)) {
    site = matrix_attention({combined->scores, node->output(), dim, true}, problem);
    if (site) {
      site->info.pattern = "learned_sink";
      site->info.learned_sink = true;
      site->info.row_sum = "with_sink";
    }
    scores = combined->scores;
  } else {
    site = matrix_attention({scores, node->output(), dim, false}, problem);
    if (site) site->info.pattern = "softmax";
  }
  if (!site && goes_to_topk(node->output())) return left_alone(false, "router: output goes to topk");
  if (!site && problem.empty() && resembles_attention(scores, node->output()))
    return left_alone(true, fmt::format("a product of two activations lies behind its scores, but beyond {}, through "
                                        "which it is not followed",
                                        origin_of(scores)));
  if (!site && problem.empty()) {
    bool learned = false;
    score_product_behind(scores, &learned);
    return left_alone(false, learned ? "one side of its product does not depend on the input (pooling, routing)"
                                     : fmt::format("its input is no product of two activations: it comes from {}",
                                                   origin_of(scores)));
  }
  if (!site) return left_alone(true, problem);
  if (!dim) return left_alone(true, "softmax over a dimension that is not constant");
  return site;
}

}  // namespace sinkscope::idioms
