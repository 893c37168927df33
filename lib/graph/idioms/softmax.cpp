// Hand-written softmax attention. The probabilities are a tensor of the model, so the statistics are read from them:
// any element-wise term between product and softmax (scale, masks, soft cap, ALiBi, relative positions) is then
// accounted for.

#include <fmt/format.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <limits>

#include "graph/idioms/idioms.h"
#include "graph/matrix_attention.h"
#include "graph/resemblance.h"
#include "graph/score_product.h"
#include "graph/walk.h"

namespace sinkscope::idioms {
namespace {

using torch::jit::Node;
using torch::jit::Value;

constexpr std::int64_t kMaskOfScores = 2;  // mask_type of _masked_softmax

bool goes_to_topk(Value* weights) {
  for (const torch::jit::Use& use : weights->uses()) {
    if (is_op(use.user, {"topk"})) return true;
    if (is_op(use.user, {"to", "float", "type_as", "add", "view", "reshape"}) && goes_to_topk(use.user->output()))
      return true;
  }
  return false;
}

/// What a softmax takes, however it is written.
struct Softmax {
  Node* op = nullptr;  ///< the operator, for messages
  Value* scores = nullptr;
  std::optional<std::int64_t> dim;  ///< as written
  Value* hidden = nullptr;          ///< mask that the operator itself applies, true: hidden
};

/// exp(s - logsumexp(s)).
std::optional<Softmax> by_log_sum_exp(Node* difference) {
  if (!is_op(difference, {"sub", "sub_"})) return std::nullopt;
  Node* sum = difference->input(1)->node();
  if (!is_op(sum, {"logsumexp"}) || sum->input(0) != difference->input(0)) return std::nullopt;
  const auto dims = constant_ints(sum->input(1));
  const auto keeps_dim = torch::jit::toIValue(sum->input(2));
  if (!dims || dims->size() != 1 || !keeps_dim || !keeps_dim->toBool()) return std::nullopt;
  return Softmax{sum, difference->input(0), dims->front(), nullptr};
}

/// The softmax that a node completes: itself, or an exp.
std::optional<Softmax> softmax_of(Node* node) {
  if (is_op(node, {"_masked_softmax"}))
    return Softmax{node, node->input(0), constant_int(node->input(2)), node->input(1)};
  if (is_softmax(node)) return Softmax{node, node->input(0), constant_int(node->input(1)), nullptr};
  if (!is_op(node, {"exp"})) return std::nullopt;
  Node* inner = node->input(0)->node();
  if (is_op(inner, {"log_softmax", "_log_softmax"}))
    return Softmax{inner, inner->input(0), constant_int(inner->input(1)), nullptr};
  return by_log_sum_exp(inner);
}

/// The scores with the softmax's own mask, as they would stand before a plain softmax.
Value* with_mask(const Softmax& softmax) {
  const torch::jit::WithInsertPoint before(softmax.op);
  Value* scores = softmax.op->owningGraph()->insert(
      c10::aten::masked_fill, {softmax.scores, softmax.hidden, -std::numeric_limits<double>::infinity()});
  scores->node()->copyMetadata(softmax.op);
  return scores;
}

}  // namespace

std::optional<Site> softmax(Node* node, LeftAlone* reason) {
  const auto normaliser = softmax_of(node);
  if (!normaliser) return std::nullopt;
  const auto left_alone = [&](bool looks_like_attention, std::string why) -> std::optional<Site> {
    if (reason != nullptr)
      *reason = {module_of(node), normaliser->op->kind().toQualString(), std::move(why), looks_like_attention};
    return std::nullopt;
  };
  Value* scores = normaliser->scores;
  const auto dim = normaliser->dim;
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
    const auto products = score_products_behind(scores);
    const bool learned = std::any_of(products.begin(), products.end(), [](const ScoreProduct& p) {
      return !is_parameter(p.product.left.value) && !is_parameter(p.product.right.value);
    });
    return left_alone(false, learned ? "its keys or values do not depend on the input (routing, classes)"
                                     : fmt::format("its input is no product of two activations: it comes from {}",
                                                   origin_of(scores)));
  }
  if (!site) return left_alone(true, problem);
  if (!dim) return left_alone(true, "softmax over a dimension that is not constant");
  if (normaliser->hidden != nullptr) {
    // [Q, K] and [B, K] are also spoken of by a number, but are not of the shape of the scores.
    const auto kind = torch::jit::toIValue(normaliser->op->input(3));
    if (!kind || !(kind->isNone() || (kind->isInt() && kind->toInt() == kMaskOfScores)))
      return left_alone(true, "its mask has not the shape of its scores");
    site->scores = with_mask(*normaliser);
  }
  return site;
}

}  // namespace sinkscope::idioms
