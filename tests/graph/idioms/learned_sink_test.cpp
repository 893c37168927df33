// Learned sinks: a column beside the scores that a slice takes away again.
#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

/// scores, cat with the sink by `list`, minus the largest, softmax, then `slice` to %w.
std::string eager(const std::string& list, const std::string& slice) {
  return R"(
  %kt : Tensor = aten::transpose(%k, %two, %three)
  %s : Tensor = aten::matmul(%q, %kt)
  %m : Tensor = aten::mul(%s, %scale)
  %a : Tensor = aten::add(%m, %mask, %one)
  %l : Tensor[] = prim::ListConstruct()" +
         list + R"()
  %c : Tensor = aten::cat(%l, %last)
  %x : Tensor, %i : Tensor = aten::max(%c, %last, %true)
  %d : Tensor = aten::sub(%c, %x, %one)
  %p : Tensor = aten::softmax(%d, %last, %float)
)" + slice +
         R"(
  %y : Tensor = aten::to(%w, %float, %false, %false, %none)
  %o : Tensor = aten::matmul(%y, %v))";
}

TEST_CASE("a column of sink logits beside the scores is a learned sink", "[graph]") {
  for (const auto& [list, slice] : std::vector<std::pair<std::string, std::string>>{
           {"%a, %sinks", "  %w : Tensor = aten::slice(%p, %last, %zero, %last, %one)"},
           {"%sinks, %a", "  %w : Tensor = aten::slice(%p, %three, %one, %none, %one)"},
           {"%a, %sinks", "  %n : int = aten::size(%k, %two)\n  %w : Tensor = aten::narrow(%p, %last, %zero, %n)"}}) {
    CAPTURE(list, slice);
    const ir::Found found = ir::find(eager(list, slice));
    REQUIRE(found.attention.sites.size() == 1);
    const Site& site = found.site();
    CHECK(site.info.pattern == "learned_sink");
    CHECK(site.info.learned_sink);
    CHECK(site.info.row_sum == "with_sink");
    CHECK(found.name(site.scores) == "a");
    CHECK(found.name(site.weights) == "w");
    CHECK(found.name(site.with_sink) == "p");
    CHECK(found.name(site.key) == "k");
  }
}

TEST_CASE("a column that meets the values too is no learned sink, and the reason is said", "[graph]") {
  const ir::Found found = ir::find(eager("%a, %sinks", "  %w : Tensor = aten::contiguous(%p, %zero)"));
  CHECK(found.attention.sites.empty());
  REQUIRE(found.attention.left_alone.size() == 1);
  CHECK(found.attention.left_alone[0].looks_like_attention);
  CHECK(found.attention.left_alone[0].reason ==
        "a column is put beside its scores, and no slice takes it away before the values");
}

}  // namespace
}  // namespace sinkscope
