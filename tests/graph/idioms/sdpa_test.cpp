// scaled_dot_product_attention: the node is the site, KV heads are those before their repetition.
#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

ir::Found sdpa(const std::string& before, const std::string& key, const std::string& value) {
  return ir::find(before + "  %o : Tensor = aten::scaled_dot_product_attention(%q, %" + key + ", %" + value +
                  ", %mask, %drop, %false, %scale, %false)");
}

TEST_CASE("a call of scaled_dot_product_attention is a fused site", "[graph]") {
  const ir::Found found = sdpa("", "k", "v");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.attention.left_alone.empty());
  CHECK(found.site().form == SiteForm::sdpa);
  CHECK(found.site().info.pattern == "sdpa");
  CHECK(found.site().info.measured_by == "fused");
  CHECK(found.name(found.site().query) == "q");
  CHECK(found.name(found.site().key) == "k");
  CHECK(found.name(found.site().value) == "v");
}

TEST_CASE("KV heads of a fused call are seen before their repetition, if all are repeated as often", "[graph]") {
  const auto repeated = [](const std::string& repeats) {
    return sdpa("  %kr : Tensor = aten::repeat_interleave(%k, %" + repeats +
                    ", %one, %none)\n  %vr : Tensor = aten::repeat_interleave(%v, %" + repeats + ", %one, %none)\n",
                "kr", "vr");
  };
  CHECK(repeated("two").name(repeated("two").site().key) == "k");
  CHECK(repeated("two").name(repeated("two").site().value) == "v");
  CHECK(repeated("bool").name(repeated("bool").site().key) == "kr");  // a tensor: each head as often as it says
}

TEST_CASE("operators that scaled_dot_product_attention chooses from are refused by name", "[graph]") {
  CHECK_THROWS_WITH(
      ir::find("  %o : Tensor = aten::_scaled_dot_product_attention_math(%q, %k, %v, %mask, %drop, %false, "
               "%none, %scale, %false)"),
      contains("Call torch.nn.functional.scaled_dot_product_attention instead"));
}

}  // namespace
}  // namespace sinkscope
