#include "metric/parameters.h"

#include "base/error.h"
#include "catch.h"

using namespace sinkscope;

namespace {

const std::vector<Parameter> kDeclared = {{"on", true, "a switch"},
                                          {"count", 4, "a whole number"},
                                          {"epsilon", 0.3, "a number"},
                                          {"comparator", ">", "text", {">", ">="}},
                                          {"targets", std::vector<std::int64_t>{-1}, "whole numbers"},
                                          {"levels", std::vector<double>{0.1}, "numbers"},
                                          {"scores", std::vector<std::string>{"a"}, "names", {"a", "b"}}};

ParameterValue parse(std::size_t place, const std::string& text) {
  return parse_parameter("m", kDeclared.at(place), text);
}

}  // namespace

TEST_CASE("parameter text is read as the declared type", "[parameters]") {
  CHECK(parse(0, "false") == ParameterValue(false));
  CHECK(parse(1, "-7") == ParameterValue(std::int64_t{-7}));
  CHECK(parse(2, "1") == ParameterValue(1.0));
  CHECK(parse(2, "2.5e-1") == ParameterValue(0.25));
  CHECK(parse(3, ">=") == ParameterValue(std::string(">=")));
  CHECK(parse(4, "-1,5") == ParameterValue(std::vector<std::int64_t>{-1, 5}));
  CHECK(parse(4, "") == ParameterValue(std::vector<std::int64_t>{}));
  CHECK(parse(5, "0.5") == ParameterValue(std::vector<double>{0.5}));
  CHECK(parse(6, "b,a") == ParameterValue(std::vector<std::string>{"b", "a"}));
}

TEST_CASE("parameter text of another form is refused with the parameter and the form", "[parameters]") {
  for (const auto& [place, text] : std::vector<std::pair<std::size_t, std::string>>{{0, "yes"},
                                                                                    {1, "4.5"},
                                                                                    {1, ""},
                                                                                    {1, "4 "},
                                                                                    {1, "99999999999999999999"},
                                                                                    {2, "nan"},
                                                                                    {2, "inf"},
                                                                                    {2, "x"},
                                                                                    {4, "1,"},
                                                                                    {4, "1,,2"},
                                                                                    {5, "a"}}) {
    CAPTURE(place, text);
    CHECK_THROWS_AS(parse(place, text), UsageError);
  }
  CHECK_THROWS_WITH(parse(1, "4.5"), contains("m.count: expects a whole number, not '4.5'"));
  CHECK_THROWS_WITH(parse(3, "="), contains("m.comparator: no choice '='") && contains("Choices: >, >="));
  CHECK_THROWS_WITH(parse(6, "a,c"), contains("m.scores: no choice 'c'"));
}

TEST_CASE("parameters keep their order and their types", "[parameters]") {
  Parameters parameters(kDeclared);
  CHECK(parameters.entries().front().first == "on");
  CHECK(parameters.get<std::int64_t>("count") == 4);
  parameters.set("epsilon", std::int64_t{1});  // a configuration file may say epsilon = 1
  CHECK(parameters.get<double>("epsilon") == 1.0);
  parameters.set("levels", std::vector<std::int64_t>{1, 2});
  CHECK(parameters.get<std::vector<double>>("levels") == std::vector<double>{1, 2});
  parameters.set("scores", std::vector<std::int64_t>{});  // an empty list has no type of its own
  CHECK(parameters.get<std::vector<std::string>>("scores").empty());
}

TEST_CASE("an undeclared parameter or another type is refused, and nothing changes", "[parameters]") {
  Parameters parameters(kDeclared);
  CHECK_THROWS_WITH(parameters.set("epsilom", 0.1), contains("did you mean 'epsilon'?"));
  CHECK_THROWS_WITH(parameters.set("count", 0.5), contains("'count' must be a whole number"));
  CHECK_THROWS_AS(parameters.set("on", std::string("true")), UsageError);
  CHECK_THROWS_AS(parameters.set("targets", std::vector<double>{0.5}), UsageError);
  CHECK_THROWS_AS(Parameters().at("x"), UsageError);
  CHECK(parameters.entries() == Parameters(kDeclared).entries());
}
