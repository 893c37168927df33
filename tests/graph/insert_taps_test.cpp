// The rewritten graph, line by line: what each form of site hands to its observer.
#include "graph/insert_taps.h"

#include <torch/csrc/jit/testing/file_check.h>

#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

using torch::jit::testing::FileCheck;

/// `body` with its sites observed.
std::shared_ptr<torch::jit::Graph> tapped(const std::string& body) {
  const ir::Found found = ir::find(body);
  FlatGraph flat{found.graph, {}};
  insert_taps(flat, found.attention.sites, {});
  return flat.graph;
}

void check_lines(const torch::jit::Graph& graph, std::initializer_list<const char*> lines) {
  FileCheck check;
  for (const char* line : lines) check.check(line);
  CHECK_NOTHROW(check.run(graph));
}

TEST_CASE("a written-out site hands over its output, weights, scores, values and keys", "[graph]") {
  const auto graph = tapped(R"(
  %kt : Tensor = aten::transpose(%k, %last, %second)
  %s : Tensor = aten::matmul(%q, %kt)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %m : Tensor = aten::matmul(%p, %v)
  %o : Tensor = aten::tanh(%m))");
  check_lines(*graph,
              {"= aten::matmul(%p, %v)", "prim::ListConstruct(%k)", "value=[-2, -1, -2, -1, -2, -1, -2, -1, -2, -1",
               "sinkscope::observe_weights(%m, %p, %s, %v, ", "aten::tanh("});
  CHECK_NOTHROW(FileCheck().check_not("aten::tanh(%m)")->run(*graph));  // what follows takes the tap's output
}

TEST_CASE("a projected site keeps its operator and hands over what goes in", "[graph]") {
  const auto graph = tapped(R"(
  %m : Tensor, %w : Tensor = aten::_native_multi_head_attention(%q, %k, %v, %two, %one, %mask, %sinks, )"
                            R"(%mask, %sinks, %none, %false, %true, %none)
  %o : Tensor = aten::tanh(%m))");
  check_lines(*graph, {"aten::_native_multi_head_attention(%q, %k, %v",
                       "sinkscope::observe_projected(%m, %q, %k, %v, %one, %mask, %sinks", "aten::tanh("});
  CHECK_NOTHROW(FileCheck().check_not("aten::tanh(%m)")->run(*graph));
}

TEST_CASE("a later site holds the output of an earlier call, whatever takes that call's place", "[graph]") {
  const std::string call = "aten::scaled_dot_product_attention(%q, %k, %v, %mask, %drop, %false, %scale, %false)\n";
  const std::string a = "  %a : Tensor = " + call;
  const char* const observed = "sinkscope::observe_sdpa(%q, %k, %v";
  check_lines(
      *tapped(a + "  %o : Tensor = aten::scaled_dot_product_attention(%q, %k, %a, %mask, %drop, %false, %scale, "
                  "%false)"),
      {observed, "sinkscope::observe_sdpa(%q, %k, "});
  check_lines(*tapped(a + R"(
  %kt : Tensor = aten::transpose(%k, %last, %second)
  %s : Tensor = aten::matmul(%q, %kt)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %o : Tensor = aten::matmul(%p, %a))"),
              {observed, "sinkscope::observe_weights("});
  CHECK_NOTHROW(FileCheck().check_not("aten::scaled_dot_product_attention")->run(*tapped(a + R"(
  %o : Tensor = aten::scaled_dot_product_attention(%a, %a, %a, %mask, %drop, %false, %scale, %false))")));
}

}  // namespace
}  // namespace sinkscope
