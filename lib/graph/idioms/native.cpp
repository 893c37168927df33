// The fast path of nn.MultiheadAttention and nn.TransformerEncoderLayer: one operator from hidden states to output. It
// keeps producing the output; queries, keys and values are computed again beside it.

#include "graph/idioms/idioms.h"
#include "graph/walk.h"

namespace sinkscope::idioms {

using torch::jit::Node;

std::optional<Site> native(Node* node) {
  if (!is_op(node, {"_native_multi_head_attention", "_transformer_encoder_layer_fwd"})) return std::nullopt;
  Site site;
  site.form = SiteForm::projected;
  site.node = node;
  const bool is_attention = is_op(node, {"_native_multi_head_attention"});
  site.query = node->namedInput(is_attention ? "query" : "src");
  site.key = node->namedInput(is_attention ? "key" : "src");
  site.value = node->namedInput(is_attention ? "value" : "src");
  site.info.pattern = is_attention ? "multi_head_attention" : "encoder_layer";
  return site;
}

std::string closed(Node* node) {
  if (is_op(node, {"_triton_multi_head_attention", "_triton_scaled_dot_attention"}))
    return "Call torch.backends.mha.set_fastpath_enabled(False) before tracing";
  // What scaled_dot_product_attention chooses from, called by name.
  if (is_op(node, {"_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
                   "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
                   "_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math",
                   "_flash_attention_forward", "_efficient_attention_forward"}))
    return "Call torch.nn.functional.scaled_dot_product_attention instead";
  return {};
}

}  // namespace sinkscope::idioms
