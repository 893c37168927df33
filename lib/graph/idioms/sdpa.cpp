// F.scaled_dot_product_attention: query, key and value are its inputs. The node's schema has 8 arguments after loading;
// they are read by name.

#include "graph/idioms/idioms.h"
#include "graph/kv_repetition.h"
#include "graph/walk.h"

namespace sinkscope::idioms {

std::optional<Site> sdpa(torch::jit::Node* node) {
  if (!is_op(node, {"scaled_dot_product_attention"})) return std::nullopt;
  Site site;
  site.form = SiteForm::sdpa;
  site.node = node;
  site.query = node->namedInput("query");
  site.key = before_repetition(node->namedInput("key"));
  site.value = before_repetition(node->namedInput("value"));
  site.info.pattern = "sdpa";
  return site;
}

}  // namespace sinkscope::idioms
