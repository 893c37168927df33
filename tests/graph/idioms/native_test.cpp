// The fast path of nn.MultiheadAttention and nn.TransformerEncoderLayer.
#include "base/error.h"
#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

TEST_CASE("the fused operators of nn.MultiheadAttention are sites that stay as they are", "[graph]") {
  const ir::Found found = ir::find(R"(
  %o : Tensor, %w : Tensor = aten::_native_multi_head_attention(%q, %k, %v, %two, %two, %mask, %mask, %mask, %mask, %none, %false, %true, %none))");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.site().form == SiteForm::projected);
  CHECK(found.site().info.pattern == "multi_head_attention");
  CHECK(found.site().info.measured_by == "fused");
}

TEST_CASE("a fused operator that cannot be opened is refused by name", "[graph]") {
  const auto graph = ir::with_body(R"(
  %o : Tensor = aten::_triton_scaled_dot_attention(%q, %k, %v, %drop))");
  CHECK_THROWS_AS(find_attention(*graph), InputError);
}

TEST_CASE("an operator that scaled_dot_product_attention chooses from is refused where a model calls it by name",
          "[graph]") {
  const auto graph = ir::with_body(R"(
  %o : Tensor, %l : Tensor = aten::_scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, %drop, %true, %none, %none))");
  CHECK_THROWS_WITH(find_attention(*graph), contains("scaled_dot_product_attention instead"));
}

}  // namespace
}  // namespace sinkscope
