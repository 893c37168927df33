// Parameters fetched where they are used: IR in, checked graph out.
#include "graph/stream_parameters.h"

#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/testing/file_check.h>

#include "catch.h"
#include "graph/inline_with_paths.h"
#include "models.h"

namespace sinkscope {
namespace {

using torch::jit::testing::FileCheck;

TEST_CASE("every use of a parameter gets a fetch of its own right before it, and the early reads go away", "[graph]") {
  const FlatGraph flat = inline_with_paths(models::language_model());
  std::set<std::string> parameters;
  for (const auto& p : models::language_model().named_parameters()) parameters.insert(p.name);
  const auto plan = stream_parameters(*flat.graph, 7, parameters);
  CHECK(plan == std::vector<std::string>{"embedding", "blocks.0.attention.qkv", "blocks.0.attention.out",
                                         "blocks.1.attention.qkv", "blocks.1.attention.out", "unembedding"});
  FileCheck()
      .check("sinkscope::fetch_parameter")
      ->check_next("aten::embedding")
      ->check("sinkscope::fetch_parameter")
      ->check_next("aten::linear")
      ->check("sinkscope::fetch_parameter")
      ->check_next("aten::linear")
      ->check_not("prim::GetAttr[name=\"out\"]")
      ->run(*flat.graph);
}

TEST_CASE("parameters that are not streamed stay as they are", "[graph]") {
  const FlatGraph flat = inline_with_paths(models::language_model());
  CHECK(stream_parameters(*flat.graph, 7, {"unembedding"}) == std::vector<std::string>{"unembedding"});
  FileCheck().check("GetAttr[name=\"embedding\"]")->check_count("sinkscope::fetch_parameter", 1, true)->run(*flat.graph);
}

TEST_CASE("inside branches parameters are fetched in the branch, and a parameter that is a result is fetched too",
          "[graph]") {
  torch::jit::Module m("M");
  m.register_parameter("a", at::ones({2, 2}), false);
  m.register_parameter("b", at::ones({2, 2}), false);
  m.define(R"(
def forward(self, x):
    w = self.a
    if x.size(0) > 2:
        w = self.b
        x = torch.matmul(x, self.a) + self.a
    return torch.matmul(x, w)
)");
  const FlatGraph flat = inline_with_paths(m);
  const auto plan = stream_parameters(*flat.graph, 1, {"a", "b"});
  CHECK(std::count(plan.begin(), plan.end(), "b") == 1);
  CHECK(std::count(plan.begin(), plan.end(), "a") >= 3);  // two uses in the branch, one result of the other branch
  FileCheck().check_not("GetAttr")->run(*flat.graph);
}

}  // namespace
}  // namespace sinkscope
