#include "report/benchmark_json.h"

#include "report/fixed_report.h"
#include "report/golden.h"

using namespace sinkscope;

TEST_CASE("every headline with a value is an entry of the benchmark JSON, one without is named", "[report]") {
  Benchmarks benchmarks;
  add_benchmarks(benchmarks, fixed_json());
  REQUIRE(benchmarks.entries.size() == 2);
  CHECK(benchmarks.entries[0] == nlohmann::ordered_json::parse(R"({
    "name": "first_token_mass", "unit": "probability", "value": 0.30000000000000004, "range": "0.25 to 0.35",
    "extra": "definition version 1; row_0 = included; T = 64, N = 2 sequences (128 ids); float32"})"));
  CHECK_FALSE(benchmarks.entries[1].contains("range"));
  CHECK(left_out_words(benchmarks) == "without a value, so not in the benchmark JSON: massive_activation");
}

TEST_CASE("checkpoints of a sweep are told apart by their names", "[report]") {
  Benchmarks benchmarks;
  add_benchmarks(benchmarks, fixed_json(), "step1000");
  CHECK(benchmarks.entries[1]["name"] == "step1000/sink_rate");
}
