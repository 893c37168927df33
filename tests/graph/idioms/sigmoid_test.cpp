// Sigmoid attention: weights of any row sum.
#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

TEST_CASE("a sigmoid between two products of activations is attention with free row sums", "[graph]") {
  const ir::Found found = ir::find(R"(
  %kt : Tensor = aten::transpose(%k, %two, %three)
  %s : Tensor = aten::matmul(%q, %kt)
  %a : Tensor = aten::add(%s, %mask, %one)
  %p : Tensor = aten::sigmoid(%a)
  %o : Tensor = aten::matmul(%p, %v))");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.site().info.pattern == "sigmoid");
  CHECK(found.site().info.row_sum == "free");
  CHECK(found.name(found.site().key) == "k");
}

TEST_CASE("gates are not sigmoid attention and are not worth a word", "[graph]") {
  for (const char* body : {R"(
  %g : Tensor = aten::linear(%q, %k, %none)
  %p : Tensor = aten::sigmoid(%g)
  %o : Tensor = aten::mul(%p, %v))",
                           R"(
  %s : Tensor = aten::matmul(%q, %k)
  %p : Tensor = aten::sigmoid(%s)
  %o : Tensor = aten::mul(%p, %v))"}) {
    const ir::Found found = ir::find(body);
    CHECK(found.attention.sites.empty());
    CHECK(found.attention.left_alone.empty());
  }
}

}  // namespace
}  // namespace sinkscope
