#include "report/metric_list.h"

#include <nlohmann/json.hpp>

#include "report/fixed_report.h"
#include "report/golden.h"

using namespace sinkscope;

TEST_CASE("the three forms of the list name every metric with unit and definition", "[report]") {
  const std::vector<MetricSpec> metrics = {fixed_mass(), fixed_rate()};
  for (const std::string& text : {list_as_text(metrics, 200, false), list_as_markdown(metrics), list_as_json(metrics)})
    for (const MetricSpec& metric : metrics) {
      CAPTURE(text);
      CHECK(contains(text, metric.name));
      CHECK(contains(text, metric.unit));
      CHECK(contains(text, metric.definition));
    }
}

TEST_CASE("the JSON list gives defaults in their own type and tolerances by kind", "[report]") {
  MetricSpec metric = fixed_rate();
  metric.default_tolerance = {.absolute = 0.02, .relative = {}};
  const auto list = nlohmann::json::parse(list_as_json({metric}));
  CHECK(list[0]["parameters"][0] ==
        nlohmann::json::parse(R"({"name":"epsilon","default":0.3,"choices":null,"help":""})"));
  CHECK(list[0]["default_tolerance"] == nlohmann::json::parse(R"({"abs":0.02})"));
}
