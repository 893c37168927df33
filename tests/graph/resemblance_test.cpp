// Attention that is not measured is said to be there; routers, pooling and gates near attention are not taken for it.
#include "graph/resemblance.h"

#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

const std::string kScores = R"(
  %kt : Tensor = aten::transpose(%k, %last, %second)
  %s : Tensor = aten::matmul(%q, %kt)
)";
const std::string kValues = R"(
  %p : Tensor = aten::softmax(%a, %last, %none)
  %o : Tensor = aten::matmul(%p, %v))";
/// What a block with attention and without a norm adds to the residual stream.
const std::string kAttended = kScores + R"(
  %w : Tensor = aten::softmax(%s, %last, %none)
  %mixed : Tensor = aten::matmul(%w, %v)
  %out : Tensor = aten::linear(%mixed, %sinks, %none)
  %x : Tensor = aten::add(%q, %out, %one)
)";

TEST_CASE("attention whose scores lie beyond an operator that is not followed is warned of", "[graph]") {
  const struct {
    const char* what;
    std::string steps;
    const char* beyond;
  } cases[] = {{"heads mixed by a linear map", R"(
  %t : Tensor = aten::transpose(%s, %one, %three)
  %l : Tensor = aten::linear(%t, %sinks, %none)
  %a : Tensor = aten::transpose(%l, %one, %three)
)",
                "aten::linear"},
               {"heads mixed by an einsum", R"(
  %n : int = aten::size(%q, %one)
  %map : Tensor = aten::arange(%n, %none, %none, %none, %none)
  %equation : str = prim::Constant[value="bhqk,hg->bgqk"]()
  %both : Tensor[] = prim::ListConstruct(%s, %map)
  %a : Tensor = aten::einsum(%equation, %both, %none)
)",
                "aten::einsum"},
               {"two blocks of scores", R"(
  %other : Tensor = aten::matmul(%q, %mask)
  %both : Tensor[] = prim::ListConstruct(%s, %other)
  %a : Tensor = aten::cat(%both, %last)
)",
                "aten::cat"},
               {"relative shift by as_strided", R"(
  %a : Tensor = aten::as_strided(%s, %shape, %shape, %none)
)",
                "aten::as_strided"},
               {"chosen scores", R"(
  %a : Tensor = aten::gather(%s, %last, %bool, %false)
)",
                "aten::gather"}};
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const ir::Found found = ir::find(kScores + c.steps + kValues);
    CHECK(found.attention.sites.empty());
    REQUIRE(found.attention.left_alone.size() == 1);
    CHECK(found.attention.left_alone[0].looks_like_attention);
    CHECK_THAT(found.attention.left_alone[0].reason, contains("beyond " + std::string(c.beyond)));
  }
}

TEST_CASE("sigmoids that are divided by their sum before the values are warned of", "[graph]") {
  const ir::Found found = ir::find(kScores + R"(
  %p : Tensor = aten::sigmoid(%s)
  %dims : int[] = prim::ListConstruct(%last)
  %sum : Tensor = aten::sum(%p, %dims, %true, %none)
  %w : Tensor = aten::div(%p, %sum)
  %o : Tensor = aten::matmul(%w, %v))");
  CHECK(found.attention.sites.empty());
  REQUIRE(found.attention.left_alone.size() == 1);
  CHECK(found.attention.left_alone[0].op == "aten::sigmoid");
  CHECK(found.attention.left_alone[0].looks_like_attention);
}

TEST_CASE("routers, pooling, gates and classifiers behind attention are not taken for it", "[graph]") {
  const struct {
    const char *what, *body;
  } cases[] = {{"pooling", R"(
  %y : Tensor = aten::linear(%x, %sinks, %none)
  %p : Tensor = aten::softmax(%y, %one, %none)
  %t : Tensor = aten::transpose(%p, %one, %two)
  %o : Tensor = aten::matmul(%t, %x))"},
               {"experts that are all used", R"(
  %y : Tensor = aten::linear(%x, %sinks, %none)
  %p : Tensor = aten::softmax(%y, %last, %none)
  %g : Tensor = aten::mul(%x, %p)
  %gt : Tensor = aten::transpose(%g, %one, %two)
  %o : Tensor = aten::matmul(%g, %gt))"},
               {"a router behind topk", R"(
  %y : Tensor = aten::linear(%x, %sinks, %none)
  %best : Tensor, %i : Tensor = aten::topk(%y, %two, %last, %true, %true)
  %p : Tensor = aten::softmax(%best, %last, %none)
  %o : Tensor = aten::matmul(%p, %x))"},
               {"a classifier", R"(
  %y : Tensor = aten::linear(%x, %sinks, %none)
  %o : Tensor = aten::softmax(%y, %last, %none))"},
               {"a size is no value", R"(
  %y : Tensor = aten::linear(%x, %sinks, %none)
  %p : Tensor = aten::softmax(%y, %last, %none)
  %n : int = aten::size(%p, %one)
  %z : Tensor = aten::mul(%x, %n)
  %o : Tensor = aten::matmul(%z, %x))"}};
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const ir::Found found = ir::find(kAttended + c.body);
    CHECK(found.attention.sites.size() == 1);
    REQUIRE(found.attention.left_alone.size() == 1);
    CHECK_FALSE(found.attention.left_alone[0].looks_like_attention);
  }
}

TEST_CASE("products of products without a softmax are warned of, once for a module", "[graph]") {
  const struct {
    const char* what;
    std::string body;
  } cases[] = {{"relu", "  %a : Tensor = aten::relu(%s)\n  %o : Tensor = aten::matmul(%a, %v)"},
               {"twice", R"(
  %a : Tensor = aten::relu(%s)
  %m : Tensor = aten::matmul(%a, %v)
  %o : Tensor = aten::matmul(%m, %k))"},
               {"exp over its sum", R"(
  %e : Tensor = aten::exp(%s)
  %dims : int[] = prim::ListConstruct(%last)
  %sum : Tensor = aten::sum(%e, %dims, %true, %none)
  %a : Tensor = aten::div(%e, %sum)
  %o : Tensor = aten::matmul(%a, %v))"},
               {"linear attention", R"(
  %c : Tensor = aten::matmul(%kt, %v)
  %o : Tensor = aten::matmul(%q, %c))"}};
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const ir::Found found = ir::find(kScores + c.body);
    CHECK(found.attention.sites.empty());
    REQUIRE(found.attention.left_alone.size() == 1);
    CHECK(found.attention.left_alone[0].op == "aten::matmul");
    CHECK(found.attention.left_alone[0].looks_like_attention);
  }
}

TEST_CASE("attention over softmaxed features is linear attention, and warned of beside its softmax", "[graph]") {
  const ir::Found found = ir::find(R"(
  %p : Tensor = aten::softmax(%q, %last, %none)
  %c : Tensor = aten::matmul(%k, %v)
  %o : Tensor = aten::matmul(%p, %c))");
  REQUIRE(found.attention.left_alone.size() == 2);
  CHECK_FALSE(found.attention.left_alone[0].looks_like_attention);
  CHECK(found.attention.left_alone[1].looks_like_attention);
}

TEST_CASE("products that a site is made of, and those behind linear maps, are not warned of", "[graph]") {
  const struct {
    const char *what, *body;
  } cases[] = {{"similarity of outputs", R"(
  %o : Tensor = aten::matmul(%x, %mixed))"},
               {"another product behind a linear map", R"(
  %y : Tensor = aten::matmul(%x, %v)
  %l : Tensor = aten::linear(%y, %sinks, %none)
  %o : Tensor = aten::matmul(%l, %x))"},
               {"gates", R"(
  %y : Tensor = aten::linear(%x, %sinks, %none)
  %g : Tensor = aten::mul(%x, %y)
  %o : Tensor = aten::linear(%g, %sinks, %none))"}};
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const ir::Found found = ir::find(kAttended + c.body);
    CHECK(found.attention.sites.size() == 1);
    CHECK(found.attention.left_alone.empty());
  }
}

TEST_CASE("what lies before a norm belongs to another layer", "[graph]") {
  const auto looks = [](const std::string& norm) {
    return ir::find(kScores + norm + R"(
  %a : Tensor = aten::linear(%normed, %sinks, %none)
)" + kValues)
        .attention.left_alone.at(0)
        .looks_like_attention;
  };
  CHECK(looks("  %normed : Tensor = aten::tanh(%s)\n"));
  CHECK_FALSE(looks("  %normed : Tensor = aten::layer_norm(%s, %shape, %none, %none, %scale, %true)\n"));
  CHECK_FALSE(looks("  %r : Tensor = aten::rsqrt(%mask)\n  %normed : Tensor = aten::mul(%s, %r)\n"));
}

}  // namespace
}  // namespace sinkscope
