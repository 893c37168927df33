#include "graph/find_attention.h"

#include <fmt/format.h>

#include <map>
#include <string>
#include <unordered_set>

#include "base/error.h"
#include "graph/idioms/idioms.h"
#include "graph/module_path.h"
#include "graph/resemblance.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

/// What is known before the first run.
void describe(Site& site, torch::jit::Node* node, std::map<std::string, std::int64_t>& ordinals) {
  SiteInfo& info = site.info;
  site.module = module_of(node);
  site.called_as = called_as(node);
  info.path = join_path(site.module, site.mark);
  info.ordinal = ordinals[info.path]++;
  switch (site.form) {
    case SiteForm::sdpa:
    case SiteForm::fused_attention:
    case SiteForm::projected:
      info.measured_by = "fused";
      break;
    case SiteForm::materialised:
      info.measured_by = "materialised";
      info.reason = "the model builds the attention matrix itself";
      break;
    case SiteForm::marked:
      info.measured_by = "marked";
      info.reason = "the author declared this tensor as attention";
      break;
  }
}

/// Attention in which no softmax is, once for each module; the author of a mark has said what its module attends to.
void list_products(torch::jit::Graph& graph, FoundAttention& found) {
  std::unordered_set<torch::jit::Node*> measured;
  std::unordered_set<std::string> settled;
  for (const Site& site : found.sites) {
    measured.insert(site.products.begin(), site.products.end());
    if (site.form == SiteForm::marked) settled.insert(site.module);
  }
  for_each_node(graph.block(), [&](torch::jit::Node* node, int) {
    const std::string path = module_of(node);
    if (settled.count(path) > 0 || !resembles_attention_without_softmax(node, measured)) return;
    settled.insert(path);
    found.left_alone.push_back({path, node->kind().toQualString(),
                                "it multiplies a product of two activations with another activation, and no softmax or "
                                "sigmoid stands between",
                                true});
  });
}

}  // namespace

FoundAttention find_attention(torch::jit::Graph& graph) {
  FoundAttention found;
  std::map<std::string, std::int64_t> ordinals;
  std::unordered_set<torch::jit::Node*> marked;  // softmaxes that a mark has declared already
  for_each_node(graph.block(), [&](torch::jit::Node* node, int) {
    if (idioms::marked(node)) idioms::softmaxes_below(node, marked);
  });
  for_each_node(graph.block(), [&](torch::jit::Node* node, int depth) {
    if (const std::string remedy = idioms::closed(node); !remedy.empty())
      throw InputError(fmt::format(
          "module '{}' runs the fused operator {}, whose attention cannot be observed. {}, and export again.",
          module_of(node), node->kind().toQualString(), remedy));
    if (marked.count(node) > 0) return;
    LeftAlone reason;
    std::optional<Site> site = idioms::sdpa(node);
    if (!site) site = idioms::fused_attention(node);
    if (!site) site = idioms::marked(node);
    if (!site) site = idioms::native(node);
    if (!site) site = idioms::softmax(node, &reason);
    if (!site) site = idioms::sigmoid(node, &reason);
    if (!reason.op.empty()) found.left_alone.push_back(reason);
    if (!site) return;
    site->inside_branch = depth > 0;
    site->info.id = SiteId{static_cast<std::int64_t>(found.sites.size())};
    describe(*site, node, ordinals);
    found.sites.push_back(*std::move(site));
  });
  list_products(graph, found);
  return found;
}

}  // namespace sinkscope
