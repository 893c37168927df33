#include "report/outputs.h"

#include "base/error.h"
#include "report/fixed_report.h"
#include "report/golden.h"

using namespace sinkscope;

TEST_CASE("every output that was asked for is written", "[report]") {
  const TemporaryFolder folder;
  MeasureConfig config;
  config.output = folder / "r.json";
  config.csv = folder / "r.csv";
  config.markdown = folder / "r.md";
  config.benchmark_json = folder / "b.json";
  config.quiet = true;  // a headline of the report has no value, which would be a warning
  Outputs outputs(config);
  CHECK(outputs.arrays() == nullptr);
  outputs.write_files(fixed_json());
  CHECK(content_of(folder / "r.json") == dump(fixed_json()));
  CHECK(contains(content_of(folder / "r.csv"), "first_token_mass"));
  CHECK(contains(content_of(folder / "r.md"), "first_token_mass"));
  CHECK(contains(content_of(folder / "b.json"), R"("name":"sink_rate")"));
  CHECK(folder.files() == 4);
}

TEST_CASE("one output on a full disk does not cost the others", "[report]") {
  const TemporaryFolder folder;
  MeasureConfig config;
  config.output = "/dev/full";
  config.csv = folder / "r.csv";
  Outputs outputs(config);
  CHECK_THROWS_AS(outputs.write_files(fixed_json()), UsageError);
  CHECK(contains(content_of(folder / "r.csv"), "first_token_mass"));
}
