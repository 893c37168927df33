#include "config/command_line.h"

#include "base/guard.h"
#include "catch.h"
#include "given.h"

using namespace sinkscope;
using given::measure;
using given::refusal;

TEST_CASE("an unknown flag names the nearest one", "[config]") {
  CHECK_THAT(refusal({"m.pt", "--lenght", "3"}), contains("unknown flag '--lenght'; did you mean '--length'?"));
  CHECK_THAT(refusal({"m.pt", "--lenght=3"}), contains("'--lenght'"));
  CHECK_THAT(refusal({"m.pt", "-x"}), contains("unknown flag '-x'. `sinkscope"));
  CHECK_THAT(refusal({"m.pt", "-seed", "3"}), contains("did you mean '--seed'?"));
  CHECK_THAT(refusal({"m.pt", "--force"}), contains("unknown flag '--force'. `sinkscope"));
}

TEST_CASE("what follows -- is no flag", "[config]") {
  CHECK(measure({"--limit", "3", "--", "-odd.pt"}).model == "-odd.pt");
  CHECK(measure({"m.pt", "--"}).model == "m.pt");
  CHECK_THAT(refusal({"--", "m.pt", "--limit"}), contains("unexpected argument '--limit'"));
  CHECK_THAT(refusal({"--lenght", "--", "m.pt"}), contains("unknown flag '--lenght'"));
}

TEST_CASE("a flag without its value and an argument too many are refused", "[config]") {
  CHECK_THAT(refusal({"m.pt", "--length"}), contains("--length needs a value"));
  CHECK_THAT(refusal({"m.pt", "b.pt"}), contains("unexpected argument 'b.pt'"));
  CHECK_THAT(refusal({}), contains("no MODEL given"));
}

TEST_CASE("a repeatable flag takes one value at a time and leaves the model alone", "[config]") {
  const MeasureConfig config = measure({"--metric", "loss", "m.pt"});
  CHECK(config.model == "m.pt");
  CHECK(config.metrics.size() == 1);
  CHECK(measure({"--set", "sink_rate.keys=3", "m.pt"}).model == "m.pt");
}

TEST_CASE("of a flag given twice the last value holds", "[config]") {
  CHECK(measure({"m.pt", "--limit", "3", "--limit", "4"}).input.limit == 4);
  CHECK(given::parameters(measure({"m.pt", "--set", "sink_rate.keys=3", "--set", "sink_rate.keys=4"}), "sink_rate")
            .get<std::int64_t>("keys") == 4);
}

TEST_CASE("values may follow an equals sign, and - is a value", "[config]") {
  CHECK(measure({"m.pt", "--limit=3"}).input.limit == 3);
  CHECK(measure({"m.pt", "--tokens", "-"}).input.tokens == "-");
  const MeasureConfig config = measure({"m.pt", "-o", "-"});
  CHECK(config.json);
  CHECK_FALSE(config.output.has_value());
}

TEST_CASE("--help lists every setting of its command and examples", "[config]") {
  try {
    measure({"--help"});
    FAIL("no text was requested");
  } catch (const TextRequested& request) {
    for (const Setting& setting : settings()) CHECK_THAT(request.text, contains(long_flag(setting)));
    for (const char* flag : {"--set", "--config", "-h,--help", "Examples:"}) CHECK_THAT(request.text, contains(flag));
  }
}

TEST_CASE("no two settings share a flag or a key", "[config]") {
  std::vector<std::string> names;
  for (const Setting& setting : settings()) {
    names.push_back(long_flag(setting));
    if (!setting.key.empty()) names.push_back(setting.key);
    for (const MetricSpec& metric : all_metrics())
      CHECK(metric.name != setting.key);  // a table of that name would be lost
  }
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}
