#include "graph/find_attention.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "graph/idioms/idioms.h"
#include "graph/walk.h"

namespace sinkscope {

FoundAttention find_attention(torch::jit::Graph& graph) {
  FoundAttention found;
  std::map<std::string, std::int64_t> ordinals;
  for_each_node(graph.block(), [&](torch::jit::Node* node, int depth) {
    if (const std::string closed = idioms::closed(node); !closed.empty())
      throw InputError(
          fmt::format("module '{}' runs the fused operator {}, whose attention cannot be observed. Call "
                      "torch.backends.mha.set_fastpath_enabled(False) before tracing, and export again.",
                      node->scopeName(), closed));
    std::optional<Site> site = idioms::sdpa(node);
    LeftAlone reason;
    if (!site) site = idioms::softmax(node, &reason);
    if (!reason.op.empty()) found.left_alone.push_back(reason);
    if (!site) return;
    site->inside_branch = depth > 0;
    site->info.id = SiteId{static_cast<std::int64_t>(found.sites.size())};
    site->info.path = node->scopeName();
    site->info.ordinal = ordinals[site->info.path]++;
    site->info.measured_by = site->form == SiteForm::sdpa ? "fused" : "materialised";
    if (site->form == SiteForm::materialised) site->info.reason = "the model builds the attention matrix itself";
    found.sites.push_back(*std::move(site));
  });
  return found;
}

}  // namespace sinkscope
