// Softmax attention in the spellings that models use: what is found, and where its queries and keys stand.
#include "catch.h"
#include "graph/ir.h"

namespace sinkscope {
namespace {

const std::string kScores = R"(
  %kt : Tensor = aten::transpose(%k, %last, %second)
  %s : Tensor = aten::matmul(%q, %kt)
)";

/// matmul -> `terms` -> softmax of %`scores` -> matmul.
ir::Found around_terms(const std::string& terms, const std::string& scores) {
  return ir::find(kScores + terms + "  %p : Tensor = aten::softmax(%" + scores +
                  ", %last, %none)\n  %o : Tensor = aten::matmul(%p, %v)");
}

/// softmax of the plain scores -> `steps` -> matmul of %`weights` with the values.
ir::Found around_weights(const std::string& steps, const std::string& weights) {
  return ir::find(kScores + "  %p : Tensor = aten::softmax(%s, %last, %none)\n" + steps +
                  "  %o : Tensor = aten::matmul(%" + weights + ", %v)");
}

void check_plain(const ir::Found& found) {
  REQUIRE(found.attention.sites.size() == 1);
  const Site& site = found.site();
  CHECK(site.form == SiteForm::materialised);
  CHECK(site.info.pattern == "softmax");
  CHECK(site.info.row_sum == "one");
  CHECK(found.name(site.key) == "k");
  CHECK(found.name(site.value) == "v");
  CHECK(site.key_axes == Axes{-2, -1});
  CHECK(site.value_axes == Axes{-2, -1});
  CHECK(site.weights_axes == Axes{-2, -1});
  CHECK(site.output_axes == Axes{-2, -1});
}

TEST_CASE("any element-wise term may stand between product and softmax", "[graph]") {
  const std::vector<std::pair<std::string, std::string>> variants = {
      {"  %m : Tensor = aten::mul(%s, %scale)\n  %a : Tensor = aten::add(%m, %mask, %one)\n", "a"},
      {"  %d : Tensor = aten::div_(%s, %scale)\n  %a : Tensor = aten::add(%mask, %d, %one)\n", "a"},
      // soft cap
      {"  %c : Tensor = aten::div(%s, %cap)\n  %t : Tensor = aten::tanh(%c)\n  %u : Tensor = aten::mul(%t, %cap)\n"
       "  %a : Tensor = aten::add(%u, %mask, %one)\n",
       "a"},
      // where-mask without a scale
      {"  %a : Tensor = aten::where(%bool, %s, %mask)\n", "a"},
      // ALiBi or a relative position bias, then masked_fill, then a cast
      {"  %m : Tensor = aten::mul(%s, %scale)\n  %b : Tensor = aten::add(%m, %mask, %one)\n"
       "  %f : Tensor = aten::masked_fill(%b, %bool, %fill)\n"
       "  %a : Tensor = aten::to(%f, %float, %false, %false, %none)\n",
       "a"},
      // inactive dropout of the scores
      {"  %a : Tensor = aten::dropout(%s, %drop, %false)\n", "a"}};
  for (const auto& [terms, scores] : variants) {
    CAPTURE(terms);
    check_plain(around_terms(terms, scores));
  }
}

TEST_CASE("a term may be written in two branches of which one runs", "[graph]") {
  // What a division by a number that is a tensor is after loading a trace.
  check_plain(around_terms(R"(
  %a : Tensor = prim::If(%true)
    block0():
      %x : Tensor = aten::div(%s, %scale)
      -> (%x)
    block1():
      %y : Tensor = aten::mul(%s, %scale)
      -> (%y)
)",
                           "a"));
}

TEST_CASE("a product in a branch is a site where its keys are known outside of it", "[graph]") {
  const auto in_branch = [](const std::string& key, const std::string& made) {
    return around_terms("  %a : Tensor = prim::If(%true)\n    block0():\n" + made +
                            "      %x : Tensor = aten::matmul(%q, %" + key +
                            ")\n      -> (%x)\n    block1():\n      -> (%mask)\n",
                        "a");
  };
  CHECK(in_branch("kt", "").attention.sites.size() == 1);
  const ir::Found found = in_branch("made", "      %made : Tensor = aten::mul(%kt, %scale)\n");
  CHECK(found.attention.sites.empty());
  REQUIRE(found.attention.left_alone.size() == 1);
  CHECK(found.attention.left_alone[0].reason == "its parts lie in a branch or loop that its values are outside of");
}

TEST_CASE("casts, dropout and masks may stand between softmax and values", "[graph]") {
  check_plain(
      around_weights("  %c : Tensor = aten::to(%p, %float, %false, %false, %none)\n"
                     "  %w : Tensor = aten::dropout(%c, %drop, %false)\n",
                     "w"));
  const ir::Found masked = around_weights("  %w : Tensor = aten::masked_fill(%p, %bool, %drop)\n", "w");
  check_plain(masked);
  CHECK(masked.name(masked.site().weights) == "w");  // rows that a mask sets to zero are zero in the statistics too
}

TEST_CASE("probabilities may pass through a branch, if every branch hands them on", "[graph]") {
  const auto branch = [](const std::string& then, const std::string& otherwise) {
    return around_weights("  %cond : bool = aten::Bool(%mask)\n  %w : Tensor = prim::If(%cond)\n    block0():\n" +
                              then + "    block1():\n" + otherwise,
                          "w");
  };
  const std::string drop = "      %d : Tensor = aten::dropout(%p, %drop, %true)\n      -> (%d)\n";
  const ir::Found found = branch(drop, "      -> (%p)\n");
  check_plain(found);
  CHECK(found.name(found.site().weights) == "w");  // either branch may have run

  const ir::Found replaced = branch(drop, "      -> (%mask)\n");
  CHECK(replaced.attention.sites.empty());
  REQUIRE(replaced.attention.left_alone.size() == 1);
  CHECK(replaced.attention.left_alone[0].looks_like_attention);
  CHECK_THAT(replaced.attention.left_alone[0].reason, contains("a branch that may replace it"));
}

TEST_CASE("softmax is found under its other names", "[graph]") {
  check_plain(ir::find(kScores + R"(
  %p : Tensor = aten::_softmax(%s, %last, %false)
  %o : Tensor = aten::matmul(%p, %v))"));
  check_plain(ir::find(kScores + R"(
  %p : Tensor = aten::softmax(%s, %three, %float)
  %o : Tensor = aten::matmul(%p, %v))"));
  const ir::Found log = ir::find(kScores + R"(
  %l : Tensor = aten::log_softmax(%s, %last, %none)
  %p : Tensor = aten::exp(%l)
  %o : Tensor = aten::matmul(%p, %v))");
  check_plain(log);
  CHECK(log.name(log.site().scores) == "s");
}

TEST_CASE("batched products are products", "[graph]") {
  const ir::Found bmm = ir::find(R"(
  %kt : Tensor = aten::transpose(%k, %one, %two)
  %s : Tensor = aten::bmm(%q, %kt)
  %p : Tensor = aten::softmax(%s, %two, %none)
  %o : Tensor = aten::bmm(%p, %v))");
  REQUIRE(bmm.attention.sites.size() == 1);
  CHECK(bmm.name(bmm.site().value) == "v");
  // ALiBi added by the product itself, heads split off between product and softmax and merged again behind it
  const ir::Found bloom = ir::find(R"(
  %b : int = prim::Constant[value=3]()
  %four : int[] = prim::ListConstruct(%b, %two, %b, %last)
  %three_dims : int[] = prim::ListConstruct(%b, %b, %last)
  %kt : Tensor = aten::transpose(%k, %last, %second)
  %s : Tensor = aten::baddbmm(%mask, %q, %kt, %one, %scale)
  %sv : Tensor = aten::view(%s, %four)
  %a : Tensor = aten::add(%sv, %bool, %one)
  %p : Tensor = aten::softmax(%a, %last, %float)
  %pv : Tensor = aten::view(%p, %three_dims)
  %o : Tensor = aten::bmm(%pv, %v))");
  REQUIRE(bloom.attention.sites.size() == 1);
  CHECK(bloom.name(bloom.site().key) == "k");
  CHECK(bloom.name(bloom.site().weights) == "p");
}

/// einsum of q and k by `scores`, softmax over `dim`, einsum of the weights and v by `values`.
ir::Found by_einsum(const std::string& scores, const std::string& values, const std::string& dim = "last") {
  return ir::find("  %se : str = prim::Constant[value=\"" + scores + "\"]()\n  %ve : str = prim::Constant[value=\"" +
                  values + "\"]()" + R"(
  %qk : Tensor[] = prim::ListConstruct(%q, %k)
  %s : Tensor = aten::einsum(%se, %qk, %none)
  %m : Tensor = aten::mul(%s, %scale)
  %p : Tensor = aten::softmax(%m, %)" +
                  dim + R"(, %none)
  %pv : Tensor[] = prim::ListConstruct(%p, %v)
  %o : Tensor = aten::einsum(%ve, %pv, %none))");
}

TEST_CASE("einsum says itself which dim is what", "[graph]") {
  const struct {
    const char *scores, *values;
    Axes weights, key, value, output;
    const char* dim;
  } cases[] = {
      {"bhqd,bhkd->bhqk", "bhqk,bhkd->bhqd", {-2, -1}, {-2, -1}, {-2, -1}, {-2, -1}, "last"},
      {"b h i d, b h j d -> b h i j", "b h i j, b h j d -> b h i d", {-2, -1}, {-2, -1}, {-2, -1}, {-2, -1}, "last"},
      {"bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", {-2, -1}, {-3, -1}, {-3, -1}, {-3, -1}, "last"},
      {"...qd,...kd->...qk", "...qk,...kd->...qd", {-2, -1}, {-2, -1}, {-2, -1}, {-2, -1}, "last"},
      {"ibnd,jbnd->ijbn", "ijbn,jbnd->ibnd", {-4, -3}, {-4, -1}, {-4, -1}, {-4, -1}, "one"},
      {"btkgd,bskd->bkgts", "bkgts,bskd->btkgd", {-2, -1}, {-3, -1}, {-3, -1}, {-4, -1}, "last"},
      {"bghqd,bgkd->bghqk", "bghqk,bgkd->bghqd", {-2, -1}, {-2, -1}, {-2, -1}, {-2, -1}, "last"}};
  for (const auto& c : cases) {
    CAPTURE(c.scores);
    const ir::Found found = by_einsum(c.scores, c.values, c.dim);
    REQUIRE(found.attention.sites.size() == 1);
    const Site& site = found.site();
    CHECK(found.name(site.key) == "k");
    CHECK(found.name(site.value) == "v");
    CHECK(site.weights_axes == c.weights);
    CHECK(site.key_axes == c.key);
    CHECK(site.value_axes == c.value);
    CHECK(site.output_axes == c.output);
  }
}

TEST_CASE("an einsum that sums over more than one dim is no attention", "[graph]") {
  CHECK(by_einsum("bhqd,bhkd->bqk", "bqk,bhkd->bhqd").attention.sites.empty());
}

TEST_CASE("keys on the left, queries on the right: the values say which dim is that of the keys", "[graph]") {
  const ir::Found found = ir::find(R"(
  %qt : Tensor = aten::transpose(%q, %last, %second)
  %s : Tensor = aten::matmul(%k, %qt)
  %p : Tensor = aten::softmax(%s, %second, %none)
  %w : Tensor = aten::transpose(%p, %last, %second)
  %o : Tensor = aten::matmul(%w, %v))");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.name(found.site().key) == "k");
  CHECK(found.site().weights_axes == Axes{-1, -2});
  CHECK(found.site().key_axes == Axes{-2, -1});
}

TEST_CASE("a softmax over the queries is no attention distribution, and said to be none", "[graph]") {
  const ir::Found found = ir::find(kScores + R"(
  %p : Tensor = aten::softmax(%s, %second, %none)
  %o : Tensor = aten::matmul(%p, %v))");
  CHECK(found.attention.sites.empty());
  REQUIRE(found.attention.left_alone.size() == 1);
  CHECK(found.attention.left_alone[0].reason == "softmax over dimension -2, but the values are summed over another");
  CHECK(found.attention.left_alone[0].looks_like_attention);
}

TEST_CASE("of a sum of products the keys are those that depend on the input", "[graph]") {
  // Shaw: the table of relative positions is made of sizes alone and stands first in the sum.
  const ir::Found found = ir::find(R"(
  %n : int = aten::size(%q, %two)
  %table : Tensor = aten::arange(%n, %none, %none, %none, %none)
  %relative : Tensor = aten::matmul(%q, %table)
  %kt : Tensor = aten::transpose(%k, %last, %second)
  %content : Tensor = aten::matmul(%q, %kt)
  %s : Tensor = aten::add(%relative, %content, %one)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %o : Tensor = aten::matmul(%p, %v))");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.name(found.site().key) == "k");
}

TEST_CASE("keys may be written piece by piece into an empty tensor", "[graph]") {
  const std::string filled = R"(
  %keys : Tensor = aten::new_empty(%k, %shape, %none, %none, %none, %none)
  %part : Tensor = aten::slice(%keys, %last, %zero, %two, %one)
  %written : Tensor = aten::copy_(%part, %SOURCE, %false)
  %kt : Tensor = aten::transpose(%keys, %last, %second)
  %s : Tensor = aten::matmul(%q, %kt)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %o : Tensor = aten::matmul(%p, %v))";
  const auto from = [&](const std::string& source) {
    std::string text = filled;
    return ir::find(text.replace(text.find("%SOURCE"), 7, "%" + source));
  };
  REQUIRE(from("k").attention.sites.size() == 1);
  CHECK(from("k").name(from("k").site().key) == "keys");
  CHECK(from("keys").attention.sites.empty());  // nothing of the input is written into it
}

TEST_CASE("KV heads are seen before their repetition in written-out attention", "[graph]") {
  const ir::Found found = ir::find(R"(
  %kr : Tensor = aten::repeat_interleave(%k, %two, %one, %none)
  %vr : Tensor = aten::repeat_interleave(%v, %two, %one, %none)
  %kt : Tensor = aten::transpose(%kr, %two, %three)
  %s : Tensor = aten::matmul(%q, %kt)
  %p : Tensor = aten::softmax(%s, %last, %none)
  %o : Tensor = aten::matmul(%p, %vr))");
  REQUIRE(found.attention.sites.size() == 1);
  CHECK(found.name(found.site().key) == "k");
  CHECK(found.name(found.site().value) == "v");
}

TEST_CASE("weights that also choose keys are attention all the same", "[graph]") {
  CHECK(ir::find(kScores + R"(
  %p : Tensor = aten::softmax(%s, %last, %none)
  %w : Tensor, %i : Tensor = aten::topk(%p, %two, %last, %true, %true)
  %o : Tensor = aten::matmul(%p, %v))")
            .attention.sites.size() == 1);
}

TEST_CASE("routers, heads, gates and pooling are not attention", "[graph]") {
  const struct {
    const char *what, *body, *reason;
    bool looks_like_attention;
  } cases[] = {{"router before topk", R"(
  %y : Tensor = aten::matmul(%q, %k)
  %p : Tensor = aten::softmax(%y, %last, %none)
  %w : Tensor, %i : Tensor = aten::topk(%p, %two, %last, %true, %true)
  %o : Tensor = aten::matmul(%w, %v))",
                "router: output goes to topk", false},
               {"router behind topk", R"(
  %y : Tensor = aten::linear(%q, %k, %none)
  %t : Tensor, %i : Tensor = aten::topk(%y, %two, %last, %true, %true)
  %p : Tensor = aten::softmax(%t, %last, %none)
  %o : Tensor = aten::mul(%p, %v))",
                "its input is no product of two activations: it comes from aten::topk", false},
               {"classifier", R"(
  %y : Tensor = aten::linear(%q, %k, %none)
  %o : Tensor = aten::softmax(%y, %last, %none))",
                "its input is no product of two activations: it comes from aten::linear", false},
               {"pooling", R"(
  %y : Tensor = aten::linear(%q, %k, %none)
  %p : Tensor = aten::softmax(%y, %one, %none)
  %t : Tensor = aten::transpose(%p, %one, %two)
  %o : Tensor = aten::matmul(%t, %q))",
                "its input is no product of two activations: it comes from aten::linear", false},
               {"a difference of two softmaxes", R"(
  %y : Tensor = aten::matmul(%q, %k)
  %p : Tensor = aten::softmax(%y, %last, %none)
  %d : Tensor = aten::sub(%p, %mask, %one)
  %o : Tensor = aten::matmul(%d, %v))",
                "its output goes through aten::sub and is not multiplied with a value tensor", true}};
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const ir::Found found = ir::find(c.body);
    CHECK(found.attention.sites.empty());
    REQUIRE(found.attention.left_alone.size() == 1);
    CHECK(found.attention.left_alone[0].reason == c.reason);
    CHECK(found.attention.left_alone[0].looks_like_attention == c.looks_like_attention);
  }
}

}  // namespace
}  // namespace sinkscope
