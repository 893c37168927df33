// What a hidden state is a sum of: IR in, values out.
#include "graph/residual_sum.h"

#include <torch/csrc/jit/ir/irparser.h>

#include "catch.h"

namespace sinkscope {
namespace {

using torch::jit::Value;

/// A graph over a state %x, a weight %w and `body`, which ends with %out.
struct Body {
  explicit Body(const std::string& body) {
    torch::jit::parseIR(R"(
graph(%x : Tensor, %w : Tensor, %flag : bool):
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %last : int = prim::Constant[value=-1]()
  %axes : int[] = prim::Constant[value=[-1]]()
  %tokens : int[] = prim::Constant[value=[1]]()
  %none : NoneType = prim::Constant()
  %true : bool = prim::Constant[value=1]()
  %half : float = prim::Constant[value=0.5]()
)" + body + "\n  return (%out)\n",
                        graph.get(), values);
  }
  Value* at(const std::string& name) const { return values.at(name); }
  bool holds(const char* name, const char* term) const { return terms_of(at(name)).all.count(at(term)) > 0; }
  bool sums(const char* name, const char* term) const { return terms_of(at(name)).summed.count(at(term)) > 0; }

  std::shared_ptr<torch::jit::Graph> graph = std::make_shared<torch::jit::Graph>();
  std::unordered_map<std::string, Value*> values;
};

TEST_CASE("a sum, scaled and normalised, holds its terms but not what a linear map was given", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %z : Tensor = aten::linear(%y, %w, %none)
  %sum : Tensor = aten::add(%x, %z, %one)
  %scaled : Tensor = aten::mul(%sum, %half)
  %out : Tensor = aten::layer_norm(%scaled, %axes, %none, %none, %half, %true))");
  CHECK(b.sums("out", "x"));
  CHECK(b.sums("out", "z"));
  CHECK_FALSE(b.holds("out", "y"));
  CHECK(b.holds("scaled", "sum"));
  CHECK_FALSE(b.sums("scaled", "sum"));
}

TEST_CASE("a product with a mask or a gate is no sum", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %out : Tensor = aten::mul(%y, %x))");
  CHECK(b.holds("out", "x"));
  CHECK_FALSE(b.sums("out", "x"));
}

TEST_CASE("of addmm only what is added is a term", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::relu(%x)
  %out : Tensor = aten::addmm(%x, %y, %w, %one, %one))");
  CHECK(b.sums("out", "x"));
  CHECK_FALSE(b.holds("out", "y"));
}

TEST_CASE("terms are followed through tuples and branches", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %pair : (Tensor, Tensor) = prim::TupleConstruct(%y, %x)
  %first : Tensor, %second : Tensor = prim::TupleUnpack(%pair)
  %out : Tensor = prim::If(%flag)
    block0():
      %more : Tensor = aten::add(%second, %w, %one)
      -> (%more)
    block1():
      -> (%second))");
  CHECK(b.sums("out", "x"));
  CHECK_FALSE(b.holds("out", "y"));
}

TEST_CASE("the sum behind a result is the first with the state, past scales, norms and other sums", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %z : Tensor = aten::relu(%x)
  %both : Tensor = aten::add(%y, %z, %one)
  %scaled : Tensor = aten::mul(%both, %half)
  %sum : Tensor = aten::add(%x, %scaled, %one)
  %out : Tensor = aten::add(%sum, %x, %one))");
  const auto sum = sum_with(b.at("y"), {b.at("x")});
  REQUIRE(sum.has_value());
  CHECK(sum->sum == b.at("sum"));
  CHECK(sum->state == b.at("x"));
  CHECK(nearest_term(b.at("out"), {b.at("x"), b.at("sum")}) == b.at("sum"));
  CHECK(nearest_term(b.at("z"), {b.at("x")}) == nullptr);
}

TEST_CASE("behind a map that mixes features there is no sum of a result", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %z : Tensor = aten::linear(%y, %w, %none)
  %out : Tensor = aten::add(%x, %z, %one))");
  CHECK_FALSE(sum_with(b.at("y"), {b.at("x")}).has_value());
  CHECK(sum_with(b.at("z"), {b.at("x")}).has_value());
  CHECK_FALSE(sum_with(b.at("z"), {b.at("w")}).has_value());
}

const char* kTwoSums = R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %first : Tensor = aten::add(%x, %y, %one)
  %mean : Tensor = aten::mean(%first, %axes, %true, %none)
  %centred : Tensor = aten::sub(%first, %mean, %one)
  %z : Tensor = aten::linear(%centred, %w, %none)
  %grown : Tensor = aten::mul(%first, %half)
  %second : Tensor = aten::add(%z, %grown, %one)
  %out : Tensor = aten::add(%second, %half, %one))";

TEST_CASE("a state is followed over everything that is added, not into a norm that is written out", "[graph]") {
  const Body b(kTwoSums);
  CHECK(follow_sums(b.at("first"), {}).state == b.at("second"));
  const Followed all = follow_sums(b.at("x"), {});
  CHECK(all.state == b.at("second"));
  CHECK(all.sums == 2);
}

TEST_CASE("a state is followed no further than the next block", "[graph]") {
  const Body b(kTwoSums);
  const Range range{b.at("z")->node(), nullptr, std::nullopt, false};
  CHECK(follow_sums(b.at("x"), range).state == b.at("first"));
  CHECK(follow_sums(b.at("first"), range).state == b.at("first"));
  CHECK(follow_sums(b.at("x"), {nullptr, nullptr, 1, false}).state == b.at("first"));
}

TEST_CASE("what does not lead to the output is not the state", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %aside : Tensor = aten::sub(%x, %y, %one)
  %sum : Tensor = aten::add(%x, %y, %one)
  %out : Tensor = aten::linear(%sum, %w, %none))");
  const Path path = path_to(first_output(*b.graph));
  CHECK(follow_sums(b.at("x"), {nullptr, &path, std::nullopt, false}).state == b.at("sum"));
}

TEST_CASE("a norm is passed where what follows is added to its result, and then the last one too", "[graph]") {
  const Body b(R"(
  %y : Tensor = aten::linear(%x, %w, %none)
  %first : Tensor = aten::add(%x, %y, %one)
  %n : Tensor = aten::layer_norm(%first, %axes, %none, %none, %half, %true)
  %z : Tensor = aten::linear(%n, %w, %none)
  %second : Tensor = aten::add(%n, %z, %one)
  %m : Tensor = aten::layer_norm(%second, %axes, %none, %none, %half, %true)
  %out : Tensor = aten::linear(%m, %w, %none))");
  CHECK(follow_sums(b.at("first"), {}).state == b.at("m"));
  CHECK(follow_sums(b.at("second"), {}).state == b.at("second"));
  CHECK(follow_sums(b.at("second"), {nullptr, nullptr, std::nullopt, true}).state == b.at("m"));
}

TEST_CASE("a reduction of the last dim, a filled tensor and a parameter contribute nothing to a state", "[graph]") {
  const Body b(R"(
  %mean : Tensor = aten::mean(%x, %axes, %true, %none)
  %zeros : Tensor = aten::zeros_like(%x, %none, %none, %none, %none, %none)
  %experts : Tensor = aten::sum(%x, %tokens, %true, %none)
  %y : Tensor = aten::linear(%x, %w, %none)
  %out : Tensor = aten::mul(%y, %half))");
  CHECK_FALSE(is_contribution(b.at("mean")));
  CHECK_FALSE(is_contribution(b.at("zeros")));
  CHECK(is_contribution(b.at("experts")));
  CHECK(is_contribution(b.at("out")));
}

}  // namespace
}  // namespace sinkscope
