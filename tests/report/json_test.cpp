#include "base/sha256.h"
#include "report/fixed_report.h"
#include "report/golden.h"

using namespace sinkscope;
using Json = nlohmann::ordered_json;

TEST_CASE("the JSON report matches its golden file", "[report]") { check_golden("report.json", dump(fixed_json())); }

TEST_CASE("the text of a report parses back to the same report", "[report]") {
  CHECK(Json::parse(dump(fixed_json())) == fixed_json());
}

TEST_CASE("doubles read back exactly", "[report]") {
  const Json json = Json::parse(dump(fixed_json()));
  CHECK(json["metrics"]["first_token_mass"]["value"].get<double>() == 0.30000000000000004);
}

TEST_CASE("undefined and infinite numbers are null, never 0", "[report]") {
  const Json metrics = fixed_json()["metrics"];
  CHECK(metrics["massive_activation"]["value"].is_null());
  CHECK(metrics["massive_activation"]["ci95"].is_null());
  CHECK(metrics["first_token_mass"]["per_head"][0][1].is_null());
  CHECK(metrics["first_token_mass"]["series"]["last_query"]["data"][0][1].is_null());
}

TEST_CASE("optional parts of a metric are absent where it has none", "[report]") {
  const Json metric = fixed_json()["metrics"]["massive_activation"];
  for (const char* part : {"per_sequence", "per_site", "per_head", "by_group"}) CHECK_FALSE(metric.contains(part));
}

TEST_CASE("a series is nested by its dimensions and names its coordinates", "[report]") {
  const Json metrics = fixed_json()["metrics"];
  CHECK(metrics["first_token_mass"]["series"]["last_query"]["data"] == Json::parse("[[0.01, null], [0.1, 0.9]]"));
  CHECK(metrics["sink_rate"]["series"]["by_epsilon"]["coords"] ==
        Json::parse(R"({"epsilon": {"dims": ["epsilon"], "data": [0.1, 0.2, 0.3]}})"));
  CHECK(metrics["massive_activation"]["series"]["position"]["data"].dump() == "[0,63,null]");
}

TEST_CASE("records stand beside the series under their own name", "[report]") {
  const Json locations = fixed_json()["metrics"]["massive_activation"]["locations"];
  REQUIRE(locations.size() == 1);
  CHECK(locations[0]["dimension"] == 447);
  CHECK(locations[0]["token_id"].is_null());
}

TEST_CASE("a series whose data do not fill its shape is a bug", "[report]") {
  Report report = fixed_report();
  report.metrics[0].measurement.series[0].shape = {2, 3};
  CHECK_THROWS(to_json(report));
  report.metrics[0].measurement.series[0].shape = {1, 2};
  CHECK_THROWS(to_json(report));
}

TEST_CASE("records may not hide a field of the metric", "[report]") {
  Report report = fixed_report();
  report.metrics[2].measurement.records[0].name = "value";
  CHECK_THROWS_AS(to_json(report), std::logic_error);
}

TEST_CASE("the configuration's hash does not depend on the order of its keys", "[report]") {
  CHECK(sha256_of_config({{"a", 1}, {"b", 2}}) == sha256_of_config({{"b", 2}, {"a", 1}}));
  CHECK(sha256_of_config({{"a", 1}}) == sha256_of(R"({"a":1})"));
}

TEST_CASE("a path that is no UTF-8 does not break the report", "[report]") {
  Report report = fixed_report();
  report.model.path = "m\xff.pt";
  CHECK_NOTHROW(Json::parse(dump(to_json(report))));
}

TEST_CASE("lists of numbers and rows of tables take one line", "[report]") {
  CHECK(dump(Json::parse(R"({"a":[1,2],"b":[{"c":1,"d":[]},{"c":2}],"e":{},"f":{"g":[[1],[2]]}})")) ==
        "{\n \"a\": [1,2],\n \"b\": [\n  {\"c\":1,\"d\":[]},\n  {\"c\":2}\n ],\n \"e\": {},\n \"f\": {\n  \"g\": [\n   "
        "[1],\n   [2]\n  ]\n }\n}\n");
}
