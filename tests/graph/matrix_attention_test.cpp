// The search behind written-out attention: which products are queries and keys, which are not.
#include "graph/matrix_attention.h"

#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

const std::string kAhead = R"(
  %p : Tensor = aten::softmax(%s, %last, %none)
  %o : Tensor = aten::matmul(%p, %v))";
/// %table: made of sizes, the same for every input.
const std::string kTable = R"(
  %n : int = aten::size(%q, %two)
  %table : Tensor = aten::arange(%n, %none, %none, %none, %none)
)";

TEST_CASE("queries may be learned, also where they attend to themselves; keys may not", "[graph]") {
  const ir::Found learned = ir::find(kTable + "  %s : Tensor = aten::matmul(%table, %k)\n" + kAhead);
  REQUIRE(learned.attention.sites.size() == 1);
  CHECK(learned.name(learned.site().key) == "k");
  CHECK(ir::find(kTable + R"(
  %s : Tensor = aten::matmul(%table, %table)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %o : Tensor = aten::matmul(%p, %table))")
            .attention.sites.size() == 1);
  const ir::Found router = ir::find(kTable + "  %s : Tensor = aten::matmul(%q, %table)\n" + kAhead);
  CHECK(router.attention.sites.empty());
  REQUIRE(router.attention.left_alone.size() == 1);
  CHECK(router.attention.left_alone[0].reason == "its keys or values do not depend on the input (routing, classes)");
  CHECK_FALSE(router.attention.left_alone[0].looks_like_attention);
}

TEST_CASE("of several products in the scores the keys are those of all of activations, each once", "[graph]") {
  const auto sum = [](const std::string& second) {
    return ir::find(kTable + "  %a : Tensor = aten::matmul(%q, %k)\n  %b : Tensor = aten::matmul(%" + second +
                    ")\n  %s : Tensor = aten::add(%a, %b, %one)\n" + kAhead);
  };
  REQUIRE(sum("mask, %bool").site().more_keys.size() == 1);
  CHECK(sum("mask, %bool").site().more_keys[0].value->debugName() == "bool");
  CHECK(sum("mask, %bool").site().products.size() == 3);
  CHECK(sum("mask, %k").site().more_keys.empty());      // the same keys
  CHECK(sum("mask, %table").site().more_keys.empty());  // relative positions
}

TEST_CASE("values are the operand that depends on the input, where there is one", "[graph]") {
  const ir::Found found = ir::find(kTable + R"(
  %s : Tensor = aten::matmul(%q, %k)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %r : Tensor = aten::matmul(%p, %table)
  %m : Tensor = aten::matmul(%p, %v)
  %o : Tensor = aten::add(%r, %m, %one))");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.name(found.site().value) == "v");
}

TEST_CASE("a constant factor behind the softmax is followed, and the weights are those before it", "[graph]") {
  const auto scaled = [](const std::string& step) {
    return ir::find("  %s : Tensor = aten::matmul(%q, %k)\n  %p : Tensor = aten::softmax(%s, %last, %none)\n" + step +
                    "  %o : Tensor = aten::matmul(%w, %v)");
  };
  REQUIRE(scaled("  %w : Tensor = aten::mul(%p, %scale)\n").attention.sites.size() == 1);
  CHECK(scaled("  %w : Tensor = aten::mul(%p, %scale)\n").site().weights->debugName() == "p");
  CHECK(scaled("  %w : Tensor = aten::mul(%p, %mask)\n").attention.sites.empty());
  CHECK(scaled("  %x : Tensor = aten::mul(%p, %scale)\n  %w : Tensor = aten::masked_fill(%x, %bool, %drop)\n")
            .attention.sites.empty());  // what is left sums to neither one nor the factor
}

TEST_CASE("a padded column beside the scores is a learned sink", "[graph]") {
  const auto padded = [](const std::string& widths) {
    return ir::find("  %s : Tensor = aten::matmul(%q, %k)\n  %w : int[] = prim::ListConstruct(" + widths + R"()
  %mode : str = prim::Constant[value="constant"]()
  %c : Tensor = aten::pad(%s, %w, %mode, %none)
  %p : Tensor = aten::softmax(%c, %last, %none)
  %y : Tensor = aten::slice(%p, %last, %one, %none, %one)
  %o : Tensor = aten::matmul(%y, %v))");
  };
  REQUIRE(padded("%one, %zero").attention.sites.size() == 1);
  CHECK(padded("%one, %zero").site().info.pattern == "learned_sink");
  CHECK(padded("%one, %zero").name(padded("%one, %zero").site().with_sink) == "p");
  CHECK(padded("%one, %one").attention.sites.empty());
  CHECK(padded("%one, %zero, %one, %zero").attention.sites.empty());
}

TEST_CASE("an einsum with two dims that may be the queries' names both", "[graph]") {
  const ir::Found found = ir::find(R"(
  %se : str = prim::Constant[value="bshc,btc->bsht"]()
  %ve : str = prim::Constant[value="bsht,btc->bshc"]()
  %qk : Tensor[] = prim::ListConstruct(%q, %k)
  %s : Tensor = aten::einsum(%se, %qk, %none)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %pv : Tensor[] = prim::ListConstruct(%p, %v)
  %o : Tensor = aten::einsum(%ve, %pv, %none))");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.site().weights_axes == Axes{-2, -1});
  REQUIRE(found.site().other_rows.has_value());
  CHECK(found.site().other_rows->weights == -3);
  CHECK(found.site().other_rows->output == -3);
}

}  // namespace
}  // namespace sinkscope
