// The operators of this project in a graph: found as sites, observed, and what a mark keeps from being found twice.
#include <torch/csrc/jit/testing/file_check.h>

#include "catch.h"
#include "graph/find_attention.h"
#include "graph/insert_taps.h"
#include "graph/ir.h"
#include "graph/walk.h"

namespace sinkscope {
namespace {

using ir::graph_of;
using torch::jit::testing::FileCheck;

/// One call with these constants; sinks: %none or %sinks.
std::string call_ir(int window, int chunk, double softcap, const std::string& sinks) {
  return R"(
graph(%q : Tensor, %k : Tensor, %v : Tensor, %sinks : Tensor):
  %none : NoneType = prim::Constant()
  %scale : float = prim::Constant[value=0.25]()
  %window : int = prim::Constant[value=)" +
         std::to_string(window) + R"(]()
  %chunk : int = prim::Constant[value=)" +
         std::to_string(chunk) + R"(]()
  %cap : float = prim::Constant[value=)" +
         std::to_string(softcap) + R"(]()
  %o : Tensor = sinkscope::fused_attention(%q, %k, %v, %scale, %window, %chunk, %cap, %)" +
         sinks + R"()
  return (%o))";
}

/// The only node of that kind.
torch::jit::Node* node_of(torch::jit::Graph& graph, const char* kind) {
  std::vector<torch::jit::Node*> found;
  for_each_node(graph.block(), [&](torch::jit::Node* node, int) {
    if (op_name(node) == kind) found.push_back(node);
  });
  REQUIRE(found.size() == 1);
  return found.front();
}

SiteInfo only_site(const std::string& ir) {
  const auto graph = graph_of(ir);
  const FoundAttention found = find_attention(*graph);
  REQUIRE(found.sites.size() == 1);
  CHECK(found.left_alone.empty());
  return found.sites[0].info;
}

TEST_CASE("a call of fused attention is a site that says its window, cap and sinks", "[graph]") {
  const SiteInfo plain = only_site(call_ir(0, 0, 0, "none"));
  CHECK(plain.pattern == "fused_attention");
  CHECK(plain.measured_by == "fused");
  CHECK(plain.mask == "causal");
  CHECK_FALSE(plain.window.has_value());
  CHECK_FALSE(plain.softcap.has_value());
  CHECK_FALSE(plain.learned_sink);
  CHECK(plain.row_sum == "one");

  const SiteInfo all = only_site(call_ir(128, 0, 50, "sinks"));
  CHECK(all.mask == "window");
  CHECK(all.window == std::optional<std::int64_t>(128));
  CHECK(all.softcap == std::optional<double>(50));
  CHECK(all.learned_sink);
  CHECK(all.row_sum == "with_sink");

  const SiteInfo chunks = only_site(call_ir(0, 64, 0, "none"));
  CHECK(chunks.mask == "chunk");
  CHECK(chunks.window == std::optional<std::int64_t>(64));
  CHECK(only_site(call_ir(8, 64, 0, "none")).mask == "other");
}

TEST_CASE("an observed call of fused attention keeps its arguments and is told KV heads before repetition", "[graph]") {
  FlatGraph flat{graph_of(R"(
graph(%q : Tensor, %k : Tensor, %v : Tensor):
  %none : NoneType = prim::Constant()
  %two : int = prim::Constant[value=2]()
  %one : int = prim::Constant[value=1]()
  %cap : float = prim::Constant[value=0.]()
  %kr : Tensor = aten::repeat_interleave(%k, %two, %one, %none)
  %vr : Tensor = aten::repeat_interleave(%v, %two, %one, %none)
  %o : Tensor = sinkscope::fused_attention(%q, %kr, %vr, %none, %two, %one, %cap, %none)
  return (%o))"),
                 {}};
  const auto given = node_of(*flat.graph, "sinkscope::fused_attention")->inputs().vec();
  const FoundAttention found = find_attention(*flat.graph);
  insert_taps(flat, found.sites, {});
  CHECK_NOTHROW(FileCheck().check_not("sinkscope::fused_attention")->run(*flat.graph));
  const auto observed = node_of(*flat.graph, "sinkscope::observe_fused_attention")->inputs().vec();
  REQUIRE(observed.size() == given.size() + 3);
  for (std::size_t i = 0; i < given.size(); ++i) CHECK(observed[i] == given[i]);
  CHECK(observed[given.size()]->debugName() == "k");
  CHECK(observed[given.size() + 1]->debugName() == "v");
}

constexpr const char* kMarkedSoftmax = R"(
graph(%q : Tensor, %kt : Tensor, %v : Tensor):
  %none : NoneType = prim::Constant()
  %last : int = prim::Constant[value=-1]()
  %half : float = prim::Constant[value=0.5]()
  %train : bool = prim::Constant[value=0]()
  %name : str = prim::Constant[value="mixture"]()
  %probability : bool = prim::Constant[value=0]()
  %s : Tensor = aten::matmul(%q, %kt)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %t : Tensor = aten::matmul(%kt, %q)
  %r : Tensor = aten::softmax(%t, %last, %none)
  %d : Tensor = aten::sub(%p, %r, %half)
  %e : Tensor = aten::dropout(%d, %half, %train)
  %m : Tensor = sinkscope::attention(%e, %name, %probability)
  %o : Tensor = aten::matmul(%m, %v)
  return (%o))";

TEST_CASE("a mark is one site with the author's name; the softmaxes it is made of are no others", "[graph]") {
  FlatGraph flat{graph_of(kMarkedSoftmax), {}};
  const FoundAttention found = find_attention(*flat.graph);
  REQUIRE(found.sites.size() == 1);
  CHECK(found.left_alone.empty());
  const SiteInfo& site = found.sites[0].info;
  CHECK(site.path == "mixture");
  CHECK(found.sites[0].module.empty());
  CHECK(site.pattern == "attention");
  CHECK(site.measured_by == "marked");
  CHECK(site.row_sum == "free");
  torch::jit::Value* weights = node_of(*flat.graph, "sinkscope::attention")->input(0);
  insert_taps(flat, found.sites, {});
  CHECK_NOTHROW(FileCheck().check_not("sinkscope::attention")->run(*flat.graph));
  CHECK(node_of(*flat.graph, "sinkscope::observe_marked")->input(0) == weights);
}

TEST_CASE("a softmax behind a product below a mark is still found", "[graph]") {
  const auto graph = graph_of(R"(
graph(%q : Tensor, %kt : Tensor, %v : Tensor, %w : Tensor):
  %none : NoneType = prim::Constant()
  %last : int = prim::Constant[value=-1]()
  %name : str = prim::Constant[value="next"]()
  %probability : bool = prim::Constant[value=1]()
  %s : Tensor = aten::matmul(%q, %kt)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %o : Tensor = aten::matmul(%p, %v)
  %t : Tensor = aten::matmul(%o, %w)
  %m : Tensor = sinkscope::attention(%t, %name, %probability)
  return (%m))");
  const FoundAttention found = find_attention(*graph);
  REQUIRE(found.sites.size() == 2);
  CHECK(found.sites[0].info.measured_by == "materialised");
  CHECK(found.sites[1].info.row_sum == "one");
}

}  // namespace
}  // namespace sinkscope
