// The operators of this project: sinkscope::fused_attention, whose arguments say what it does, and
// sinkscope::attention, by which an author declares a tensor as attention that no pattern can see.

#include <deque>

#include "graph/idioms/idioms.h"
#include "graph/kv_repetition.h"
#include "graph/walk.h"

namespace sinkscope::idioms {

using torch::jit::Node;
using torch::jit::Value;

std::optional<Site> fused_attention(Node* node) {
  if (op_name(node) != "sinkscope::fused_attention") return std::nullopt;
  Site site;
  site.form = SiteForm::fused_attention;
  site.node = node;
  site.query = node->namedInput("query");
  site.key = before_repetition(node->namedInput("key"));
  site.value = before_repetition(node->namedInput("value"));
  SiteInfo& info = site.info;
  info.pattern = "fused_attention";
  // Arguments that only a run knows (scripted models) are filled in then.
  const auto window = constant_int(node->namedInput("window")), chunk = constant_int(node->namedInput("chunk"));
  const bool windows = window.value_or(0) > 0, chunks = chunk.value_or(0) > 0;
  info.mask = windows && chunks ? "other" : windows ? "window" : chunks ? "chunk" : "causal";
  if (windows != chunks) info.window = windows ? window : chunk;
  const auto softcap = constant_number(node->namedInput("softcap"));
  if (softcap.value_or(0) > 0) info.softcap = softcap;
  info.learned_sink = !node->namedInput("sinks")->mustBeNone();
  if (info.learned_sink) info.row_sum = "with_sink";
  return site;
}

std::optional<Site> marked(Node* node) {
  if (op_name(node) != "sinkscope::attention") return std::nullopt;
  Site site;
  site.form = SiteForm::marked;
  site.node = node;
  site.info.pattern = "attention";
  const auto name = torch::jit::toIValue(node->namedInput("name"));
  const auto probability = torch::jit::toIValue(node->namedInput("probability"));
  if (name && name->isString()) site.mark = name->toStringRef();
  if (probability && probability->isBool() && !probability->toBool()) site.info.row_sum = "free";
  return site;
}

void softmaxes_below(Node* mark, std::unordered_set<Node*>& found) {
  std::deque<Value*> queue{mark->namedInput("weights")};
  std::unordered_set<Value*> seen;
  while (!queue.empty()) {
    Value* value = queue.front();
    queue.pop_front();
    if (!is_tensor(value) || !seen.insert(value).second) continue;
    Node* node = value->node();
    if (is_softmax(node)) {
      found.insert(node);
    } else if (!is_op(node, {"matmul", "bmm", "baddbmm", "einsum", "linear", "addmm", "mm", "embedding",
                             "scaled_dot_product_attention"})) {
      for (Value* input : node->inputs()) {
        if (input->node()->kind() == c10::prim::ListConstruct)  // of cat and stack
          queue.insert(queue.end(), input->node()->inputs().begin(), input->node()->inputs().end());
        queue.push_back(input);
      }
    }
  }
}

}  // namespace sinkscope::idioms
