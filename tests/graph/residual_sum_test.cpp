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
  CHECK(last_sum(b.at("first"), nullptr) == b.at("second"));
  CHECK(last_sum(b.at("x"), nullptr) == b.at("second"));
}

TEST_CASE("a state is followed no further than the next block", "[graph]") {
  const Body b(kTwoSums);
  CHECK(last_sum(b.at("x"), b.at("z")->node()) == b.at("first"));
  CHECK(last_sum(b.at("first"), b.at("z")->node()) == b.at("first"));
}

}  // namespace
}  // namespace sinkscope
