#include "files/weight_map.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

using Shape = std::vector<std::int64_t>;

Recipe recipe(const std::string& json) {
  return parse_weight_map({{"p", nlohmann::ordered_json::parse(json)}}).at("p");
}

/// Shapes of a [2, 3], b [2, 3], c [2, 5], d [6].
Shape shape(const std::string& json) {
  const std::map<std::string, Shape> shapes{{"a", {2, 3}}, {"b", {2, 3}}, {"c", {2, 5}}, {"d", {6}}};
  return shape_of(recipe(json), [&](const std::string& name) { return shapes.at(name); });
}

std::string refusal(const std::string& json) {
  return message_of<InputError>([&] { shape(json); });
}

}  // namespace

TEST_CASE("an entry of the weight map is a name or an operation, nested as one likes", "[files]") {
  CHECK(recipe(R"("a")").name == "a");
  CHECK(recipe(R"({"op": "alias", "of": ["a"]})") == recipe(R"("a")"));
  const Recipe nested =
      recipe(R"({"op": "concat", "dim": 1, "of": [{"op": "stack", "dim": 0, "of": ["a", "b"]}, "c"]})");
  CHECK(tensors_of(nested) == std::vector<std::string>{"a", "b", "c"});
  CHECK(tensors_of(renamed(nested, [](const std::string& name) { return "x." + name; })) ==
        std::vector<std::string>{"x.a", "x.b", "x.c"});
  CHECK(describe(nested) == "concat(stack(a, b, dim 0), c, dim 1)");
}

TEST_CASE("the shape of a recipe follows from the shapes of its tensors", "[files]") {
  CHECK(shape(R"("a")") == Shape{2, 3});
  CHECK(shape(R"({"op": "stack", "dim": 0, "of": ["a", "b"]})") == Shape{2, 2, 3});
  CHECK(shape(R"({"op": "stack", "dim": -1, "of": ["a", "b", "a"]})") == Shape{2, 3, 3});
  CHECK(shape(R"({"op": "concat", "dim": 1, "of": ["a", "c"]})") == Shape{2, 8});
  CHECK(shape(R"({"op": "transpose", "dim": 0, "of": ["c"]})") == Shape{5, 2});
  CHECK(shape(R"({"op": "transpose", "dims": [-1, 0], "of": ["c"]})") == Shape{5, 2});
  CHECK(shape(R"({"op": "slice", "dim": 1, "start": 1, "end": 4, "of": ["c"]})") == Shape{2, 3});
  CHECK(shape(R"({"op": "reshape", "shape": [3, 2], "of": ["d"]})") == Shape{3, 2});
}

TEST_CASE("operands that do not fit are refused, saying which", "[files]") {
  CHECK(contains(refusal(R"({"op": "stack", "dim": 0, "of": ["a", "c"]})"),
                 "stack(a, c, dim 0): operands [2, 3] and [2, 5]"));
  CHECK(contains(refusal(R"({"op": "concat", "dim": 0, "of": ["a", "c"]})"), "different shape"));
  CHECK(contains(refusal(R"({"op": "concat", "dim": 0, "of": ["a", "d"]})"), "different rank"));
  CHECK(contains(refusal(R"({"op": "concat", "dim": 2, "of": ["a", "b"]})"), "rank 2"));
  CHECK(contains(refusal(R"({"op": "transpose", "dim": 1, "of": ["a"]})"), "rank 2"));
  CHECK(contains(refusal(R"({"op": "slice", "dim": 1, "start": 1, "end": 6, "of": ["c"]})"), "[1, 6) of 5"));
  CHECK(contains(refusal(R"({"op": "slice", "dim": 1, "start": -1, "end": 2, "of": ["c"]})"), "[-1, 2) of 5"));
  CHECK(contains(refusal(R"({"op": "reshape", "shape": [4, 2], "of": ["d"]})"), "does not fill"));
  CHECK(contains(refusal(R"({"op": "reshape", "shape": [-2, -3], "of": ["d"]})"), "does not fill"));
}

TEST_CASE("an entry that is no recipe is refused by the parameter's name", "[files]") {
  for (const char* json :
       {"1", "{}", R"({"op": "stack", "of": []})", R"({"op": "stack", "of": ["a"]})", R"({"op": "melt", "of": ["a"]})",
        R"({"op": "alias", "of": ["a", "b"]})", R"({"op": "transpose", "dims": [0], "of": ["a"]})",
        R"({"op": "slice", "dim": 0, "of": ["a"]})",
        R"({"op": "slice", "dim": 0, "start": 0, "end": 1, "of": ["a", "b"]})", R"({"op": "reshape", "of": ["a"]})",
        R"({"op": "reshape", "shape": ["x"], "of": ["a"]})"}) {
    CAPTURE(json);
    CHECK(contains(message_of<InputError>([&] { recipe(json); }), "entry \"p\""));
  }
  CHECK_THROWS_AS(parse_weight_map(nlohmann::ordered_json::array()), InputError);
}

TEST_CASE("a recipe nested without end is refused", "[files]") {
  std::string json = R"("a")";
  for (int i = 0; i < 1000; ++i) json = R"({"op": "alias", "of": [)" + json + "]}";
  CHECK(contains(message_of<InputError>([&] { recipe(json); }), "too deep"));
}
