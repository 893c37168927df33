// What a module's settings decide is decided before the graph is searched; what the input decides is not.
#include <torch/csrc/jit/testing/file_check.h>

#include "catch.h"
#include "graph/inline_with_paths.h"
#include "models.h"

namespace sinkscope {
namespace {

using torch::jit::testing::FileCheck;

/// The graph of a module with a flag, a count, a table and this forward.
std::shared_ptr<torch::jit::Graph> graph_of(const std::string& body) {
  torch::jit::Module m("M");
  m.register_attribute("training", c10::BoolType::get(), false);
  m.register_attribute("steps", c10::IntType::get(), 3);
  m.register_buffer("table", at::ones({4}));
  m.define("def forward(self, x):\n" + body);
  return inline_with_paths(m).graph;
}

TEST_CASE("branches that a flag of the module decides are taken", "[graph]") {
  const auto graph = graph_of("    if self.training:\n        x = torch.relu(x)\n    return torch.tanh(x)\n");
  FileCheck().check_not("prim::If")->check_not("aten::relu")->check("aten::tanh")->run(*graph);
}

TEST_CASE("branches that the input decides stay, and so do tensors", "[graph]") {
  const auto graph =
      graph_of("    if bool(x.sum() > 0):\n        x = x + self.table\n    return x * torch.ones([2, 2])\n");
  FileCheck().check("prim::If")->check("prim::GetAttr[name=\"table\"]")->check("aten::ones")->run(*graph);
}

TEST_CASE("an attribute that the graph writes is no setting", "[graph]") {
  const auto graph = graph_of("    self.steps = self.steps + 1\n    return x * self.steps\n");
  FileCheck().check("prim::GetAttr[name=\"steps\"]")->check("prim::SetAttr")->run(*graph);
}

}  // namespace
}  // namespace sinkscope
