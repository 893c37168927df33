// Inlining, finding attention and blocks, inserting taps: IR or a small module in, checked graph out.
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/csrc/jit/testing/file_check.h>

#include "base/error.h"
#include "catch.h"
#include "graph/blocks.h"
#include "graph/find_attention.h"
#include "graph/inline_with_paths.h"
#include "graph/insert_taps.h"
#include "graph/ir.h"
#include "graph/kv_repetition.h"
#include "graph/streams.h"
#include "graph/walk.h"
#include "models.h"

namespace sinkscope {
namespace {

using ir::graph_of;
using torch::jit::testing::FileCheck;

at::Tensor run(const std::shared_ptr<torch::jit::Graph>& graph, const torch::jit::Module& module,
               const at::Tensor& ids) {
  torch::jit::Code code(graph, "forward");
  torch::jit::Stack stack{module._ivalue(), ids};
  torch::jit::InterpreterState(code).run(stack);
  return stack.back().toTensor();
}

std::set<std::string> paths_of(const std::vector<Site>& sites) {
  std::set<std::string> paths;
  for (const Site& site : sites) paths.insert(site.called_as);
  return paths;
}

struct Prepared {
  torch::jit::Module module;
  FlatGraph flat;
  FoundAttention found;
  std::vector<StreamPoint> streams;
};

Prepared prepare(torch::jit::Module module) {
  Prepared p{std::move(module), {}, {}, {}};
  const auto plain = inline_with_paths(p.module);
  const auto blocks = find_blocks(p.module, paths_of(find_attention(*plain.graph).sites));
  std::set<std::string> marked;
  for (const auto& [site, block] : blocks) marked.insert(block);
  p.flat = inline_with_paths(p.module, marked);
  p.found = find_attention(*p.flat.graph);
  p.streams = find_streams(p.flat, blocks, p.found.sites).points;
  return p;
}

/// scores -> softmax -> product with values, around `terms`.
std::string attention_ir(const std::string& terms, const std::string& scores) {
  return R"(
graph(%q : Tensor, %k : Tensor, %v : Tensor, %mask : Tensor, %bool : Tensor):
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %last : int = prim::Constant[value=-1]()
  %second : int = prim::Constant[value=-2]()
  %float : int = prim::Constant[value=6]()
  %scale : float = prim::Constant[value=0.125]()
  %fill : float = prim::Constant[value=-10000.]()
  %kt : Tensor = aten::transpose(%k, %last, %second)
  %s : Tensor = aten::matmul(%q, %kt)
)" + terms +
         R"(
  %p : Tensor = aten::softmax(%)" +
         scores + R"(, %last, %none)
  %o : Tensor = aten::matmul(%p, %v)
  return (%o))";
}

TEST_CASE("inlining keeps the module path of every attention call and the output of the model", "[graph]") {
  const auto model = models::language_model();
  const FlatGraph flat = inline_with_paths(model);
  const FoundAttention found = find_attention(*flat.graph);
  REQUIRE(found.sites.size() == 2);
  CHECK(found.sites[0].info.path == "blocks.0.attention");
  CHECK(found.sites[1].info.path == "blocks.1.attention");
  const at::Tensor ids = models::ids(2, 7);
  torch::jit::Module callable = model;
  CHECK(at::equal(run(flat.graph, model, ids), callable.forward({ids}).toTensor()));
  FileCheck().check_not("prim::CallMethod")->check_not("prim::CallFunction")->run(*flat.graph);
}

TEST_CASE("a module that is called twice has one site for each call", "[graph]") {
  torch::jit::Module m("Twice");
  m.register_module("block", models::block(3));
  m.define("def forward(self, x):\n    return self.block.forward(self.block.forward(x))\n");
  const Prepared p = prepare(m);
  REQUIRE(p.found.sites.size() == 2);
  CHECK(p.found.sites[0].info.path == p.found.sites[1].info.path);
  CHECK(p.found.sites[0].info.ordinal == 0);
  CHECK(p.found.sites[1].info.ordinal == 1);
}

TEST_CASE("the blocks of a list are the layers and its boundaries are the streams", "[graph]") {
  const Prepared p = prepare(models::language_model());
  CHECK(p.found.sites[0].info.layer == std::optional<std::int64_t>(0));
  CHECK(p.found.sites[1].info.layer == std::optional<std::int64_t>(1));
  REQUIRE(p.streams.size() == 3);
  CHECK(p.streams[0].info.point == "entering");
  CHECK(p.streams[0].info.path == "blocks.0");
  CHECK_FALSE(p.streams[0].info.layer.has_value());
  CHECK(p.streams[1].info.point == "leaving");
  CHECK(p.streams[2].info.path == "blocks.1");
  CHECK(p.streams[2].info.layer == std::optional<std::int64_t>(1));
}

TEST_CASE("a list with an element that holds no attention is not the list of blocks", "[graph]") {
  torch::jit::Module inner("Inner");  // attention at .0, something else at .1, inside an element of `blocks`
  inner.register_module("0", models::attention(5));
  torch::jit::Module other("Other");
  other.define("def forward(self, x):\n    return torch.tanh(x)\n");
  inner.register_module("1", other);
  inner.define("def forward(self, x):\n    return x + getattr(self, '1').forward(getattr(self, '0').forward(x))\n");
  torch::jit::Module list("Blocks");
  torch::jit::Module holder("Holder");
  holder.register_module("layer", inner);
  holder.define("def forward(self, x):\n    return self.layer.forward(x)\n");
  list.register_module("0", holder);
  list.define("def forward(self, x):\n    return getattr(self, '0').forward(x)\n");
  torch::jit::Module m("Model");
  m.register_module("blocks", list);
  m.define("def forward(self, x):\n    return self.blocks.forward(x)\n");
  const auto blocks = find_blocks(m, {"blocks.0.layer.0"});
  CHECK(blocks.at("blocks.0.layer.0") == "blocks.0");
}

TEST_CASE("taps replace the attention call, survive dead-code elimination and leave no marker", "[graph]") {
  Prepared p = prepare(models::language_model());
  insert_taps(p.flat, p.found.sites, p.streams);
  torch::jit::EliminateDeadCode(p.flat.graph);
  CHECK_NOTHROW(FileCheck()
                    .check_count("sinkscope::observe_sdpa", 2, /*exactly=*/true)
                    ->check_not("sinkscope::block_")
                    ->check_not("aten::scaled_dot_product_attention")
                    ->run(*p.flat.graph));
  CHECK_NOTHROW(FileCheck().check_count("sinkscope::tap_stream", 3, true)->run(*p.flat.graph));
}

TEST_CASE("the tapped graph gives the same bits as the model, fused and by hand", "[graph]") {
  for (const char* source : {models::kFused, models::kByHand}) {
    Prepared p = prepare(models::language_model(source));
    insert_taps(p.flat, p.found.sites, p.streams);
    const at::Tensor ids = models::ids(3, 11);
    CHECK(at::equal(run(p.flat.graph, p.module, ids), p.module.forward({ids}).toTensor()));
  }
}

TEST_CASE("hand-written softmax attention is found through masks, scales and casts", "[graph]") {
  const std::vector<std::pair<std::string, std::string>> variants = {
      {"", "s"},
      {"  %m : Tensor = aten::mul(%s, %scale)\n  %a : Tensor = aten::add(%m, %mask, %one)\n", "a"},
      {"  %d : Tensor = aten::div(%s, %scale)\n  %a : Tensor = aten::masked_fill(%d, %bool, %fill)\n", "a"},
      {"  %d : Tensor = aten::div_(%s, %scale)\n  %a : Tensor = aten::add(%mask, %d, %one)\n", "a"},
      {"  %a : Tensor = aten::to(%s, %float, %false, %false, %none)\n", "a"},
      {"  %a : Tensor = aten::where(%bool, %s, %mask)\n", "a"}};
  for (const auto& [terms, scores] : variants) {
    const auto graph = graph_of(attention_ir(terms, scores));
    const FoundAttention found = find_attention(*graph);
    CAPTURE(terms);
    REQUIRE(found.sites.size() == 1);
    CHECK(found.sites[0].form == SiteForm::materialised);
    CHECK(found.sites[0].key_axes == Axes{-2, -1});
    CHECK(found.sites[0].key->debugName() == "k");
    CHECK(found.sites[0].value->debugName() == "v");
  }
}

TEST_CASE("a router, a classifier head and a gate are not attention, and the reason is said", "[graph]") {
  const auto router = graph_of(R"(
graph(%x : Tensor):
  %none : NoneType = prim::Constant()
  %last : int = prim::Constant[value=-1]()
  %two : int = prim::Constant[value=2]()
  %true : bool = prim::Constant[value=1]()
  %y : Tensor = aten::matmul(%x, %x)
  %p : Tensor = aten::softmax(%y, %last, %none)
  %w : Tensor, %i : Tensor = aten::topk(%p, %two, %last, %true, %true)
  %o : Tensor = aten::matmul(%w, %x)
  return (%o))");
  FoundAttention found = find_attention(*router);
  CHECK(found.sites.empty());
  REQUIRE(found.left_alone.size() == 1);
  CHECK(found.left_alone[0].reason == "router: output goes to topk");
  CHECK_FALSE(found.left_alone[0].looks_like_attention);

  torch::jit::Module m("Head");
  m.register_parameter("weight", at::ones({4, 4}), false);
  m.define("def forward(self, x):\n    return torch.matmul(torch.softmax(torch.matmul(x, self.weight), -1), x)\n");
  found = find_attention(*inline_with_paths(m).graph);
  CHECK(found.sites.empty());
  REQUIRE(found.left_alone.size() == 1);
  CHECK(found.left_alone[0].reason == "its input is no product of two activations: it comes from aten::matmul");
}

TEST_CASE("a softmax over scores that never meets values looks like attention and is said to", "[graph]") {
  const auto graph = graph_of(R"(
graph(%q : Tensor, %k : Tensor):
  %none : NoneType = prim::Constant()
  %last : int = prim::Constant[value=-1]()
  %s : Tensor = aten::matmul(%q, %k)
  %p : Tensor = aten::softmax(%s, %last, %none)
  return (%p))");
  const FoundAttention found = find_attention(*graph);
  CHECK(found.sites.empty());
  REQUIRE(found.left_alone.size() == 1);
  CHECK(found.left_alone[0].looks_like_attention);
}

TEST_CASE("KV heads are seen before they are repeated", "[graph]") {
  const auto graph = graph_of(R"(
graph(%k : Tensor, %shape : int[], %flat : int[]):
  %two : int = prim::Constant[value=2]()
  %one : int = prim::Constant[value=1]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %u : Tensor = aten::unsqueeze(%k, %two)
  %e : Tensor = aten::expand(%u, %shape, %false)
  %r : Tensor = aten::reshape(%e, %flat)
  %i : Tensor = aten::repeat_interleave(%k, %two, %one, %none)
  return (%r, %i))");
  CHECK(before_repetition(graph->outputs()[0])->debugName() == "k");
  CHECK(before_repetition(graph->outputs()[1])->debugName() == "k");
}

TEST_CASE("an expanded KV head is seen, a repetition of several heads in turn or of the batch is not", "[graph]") {
  const auto graph = graph_of(R"(
graph(%k : Tensor, %heads : int):
  %four : int = prim::Constant[value=4]()
  %two : int = prim::Constant[value=2]()
  %one : int = prim::Constant[value=1]()
  %kept : int = prim::Constant[value=-1]()
  %false : bool = prim::Constant[value=0]()
  %sizes : int[] = prim::ListConstruct(%kept, %heads, %kept, %kept)
  %e : Tensor = aten::expand(%k, %sizes, %false)
  %times : int[] = prim::ListConstruct(%one, %two, %one, %one)
  %r : Tensor = aten::repeat(%k, %times)
  %batch : int[] = prim::ListConstruct(%heads, %kept, %kept, %kept)
  %b : Tensor = aten::expand(%k, %batch, %false)
  %unknown : int[] = prim::ListConstruct(%heads, %heads, %kept, %kept)
  %u : Tensor = aten::expand(%k, %unknown, %false)
  return (%e, %r, %b, %u))");
  torch::jit::Value* const head = before_repetition(graph->outputs()[0]);
  REQUIRE(op_name(head->node()) == "expand");
  CHECK(head->node()->input(0)->debugName() == "k");
  CHECK(constant_int(head->node()->input(1)->node()->input(1)) == std::optional<std::int64_t>(-1));
  for (const std::size_t output : {1, 2, 3})
    CHECK(before_repetition(graph->outputs()[output]) == graph->outputs()[output]);
  graph->lint();
}

TEST_CASE("KV heads that were repeated behind the positions are seen, and exchanged with them", "[graph]") {
  const auto graph = graph_of(R"(
graph(%k : Tensor, %shape : int[], %flat : int[]):
  %three : int = prim::Constant[value=3]()
  %two : int = prim::Constant[value=2]()
  %one : int = prim::Constant[value=1]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %u : Tensor = aten::unsqueeze(%k, %three)
  %e : Tensor = aten::expand(%u, %shape, %false)
  %r : Tensor = aten::reshape(%e, %flat)
  %t : Tensor = aten::transpose(%r, %one, %two)
  %i : Tensor = aten::repeat_interleave(%k, %two, %two, %none)
  %j : Tensor = aten::transpose(%i, %two, %one)
  return (%t, %j, %r))");
  for (const std::size_t output : {0, 1}) {
    torch::jit::Value* const heads = before_repetition(graph->outputs()[output]);
    REQUIRE(op_name(heads->node()) == "transpose");
    CHECK(heads->node()->input(0)->debugName() == "k");
  }
  CHECK(before_repetition(graph->outputs()[2], -2)->debugName() == "k");
  CHECK(before_repetition(graph->outputs()[2]) == graph->outputs()[2]);  // its positions were repeated
  graph->lint();
}

TEST_CASE("without logits the graph returns what enters the unembedding; with the last ones, one position", "[graph]") {
  const auto model = models::language_model();
  const at::Tensor ids = models::ids(2, 5);
  torch::jit::Module callable = model;
  const at::Tensor logits = callable.forward({ids}).toTensor();

  FlatGraph last = inline_with_paths(model);
  reduce_logits(*last.graph, KeptLogits::last);
  const at::Tensor one = run(last.graph, model, ids);
  REQUIRE(one.sizes() == at::IntArrayRef({2, 1, models::kVocabulary}));
  CHECK(at::allclose(one.select(1, 0), logits.select(1, 4), 1e-5, 1e-6));

  FlatGraph none = inline_with_paths(model);
  reduce_logits(*none.graph, KeptLogits::none);
  CHECK(run(none.graph, model, ids).sizes() == at::IntArrayRef({2, 5, models::kWidth}));
}

TEST_CASE("device constants of the graph move with the model", "[graph]") {
  const auto graph = graph_of(R"(
graph(%n : int):
  %none : NoneType = prim::Constant()
  %long : int = prim::Constant[value=4]()
  %d : Device = prim::Constant[value="cpu"]()
  %a : Tensor = aten::arange(%n, %long, %none, %d, %none)
  return (%a))");
  move_constants(*graph, at::Device("meta"));
  FileCheck().check("value=\"meta\"")->run(*graph);
}

}  // namespace
}  // namespace sinkscope
