#include "graph/fold_settings.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>

#include <optional>
#include <set>
#include <sstream>
#include <string>

#include "graph/attribute_path.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

/// The number, flag or string at a dotted path; empty for everything else.
std::optional<c10::IValue> setting_at(jit::Module at, const std::string& path) {
  std::istringstream names(path);
  c10::IValue value;
  for (std::string name; std::getline(names, name, '.');) {
    if (!at.hasattr(name)) return std::nullopt;
    value = at.attr(name);
    if (value.isModule()) at = value.toModule();
  }
  const bool is_setting = value.isBool() || value.isInt() || value.isDouble() || value.isString() || value.isNone();
  return is_setting ? std::optional(value) : std::nullopt;
}

}  // namespace

void fold_settings(std::shared_ptr<jit::Graph>& graph, const jit::Module& root) {
  std::set<std::string> written;
  for_each_node(graph->block(), [&](Node* node, int) {
    if (node->kind() == c10::prim::SetAttr) written.insert(node->s(c10::attr::name));
  });
  for_each_node(graph->block(), [&](Node* node, int) {
    if (node->kind() != c10::prim::GetAttr || written.count(node->s(c10::attr::name)) > 0) return;
    const auto path = attribute_path(node->output());
    const auto value = path ? setting_at(root, *path) : std::nullopt;
    if (!value) return;
    const jit::WithInsertPoint before(node);
    Value* constant = graph->insertConstant(*value);
    constant->node()->copyMetadata(node);
    node->output()->replaceAllUsesWith(constant);
    node->destroy();
  });
  // Not the pass that folds tensors too: masks and tables would become constants of the graph, and lose their paths.
  jit::ConstantPropagationImmutableTypes(graph);
}

}  // namespace sinkscope
