#include "graph/attribute_path.h"

namespace sinkscope {

std::optional<std::string> attribute_path(const torch::jit::Value* value) {
  std::string path;
  for (; value->node()->kind() == c10::prim::GetAttr; value = value->node()->input(0))
    path = value->node()->s(c10::attr::name) + (path.empty() ? "" : "." + path);
  const torch::jit::Graph* graph = value->owningGraph();
  if (path.empty() || graph->inputs().empty() || value != graph->inputs().at(0)) return std::nullopt;
  return path;
}

}  // namespace sinkscope
