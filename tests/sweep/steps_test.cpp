#include "sweep/steps.h"

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"
#include "sweep/name.h"

using namespace sinkscope;

namespace {

std::vector<SweepCheckpoint> named(const std::vector<std::string>& names) {
  std::vector<SweepCheckpoint> checkpoints;
  for (const std::string& name : names) {
    const NamedStep read = StepReader().read(name);
    checkpoints.push_back({encode_name(name), name, read.step, read.training_tokens, read.place});
  }
  return checkpoints;
}

std::vector<std::string> missing_names(const std::vector<std::string>& names,
                                       const std::vector<std::int64_t>& expected = {}) {
  std::vector<std::string> missing;
  for (const MissingStep& step : missing_steps(named(names), expected)) missing.push_back(step.name);
  return missing;
}

using Steps = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("expected steps are numbers and ranges, ascending and once each", "[sweep]") {
  CHECK(parse_steps("0,1,2,4,10:30:10") == Steps{0, 1, 2, 4, 10, 20, 30});
  CHECK(parse_steps("5,3,5") == Steps{3, 5});
  CHECK(parse_steps("0:7:3") == Steps{0, 3, 6});
  CHECK(parse_steps("0,1,2,4,8,16,32,64,128,256,512,1000:143000:1000").size() == 154);
}

TEST_CASE("expected steps that make no sense are refused with the part", "[sweep]") {
  for (const char* text : {"", "a", "1,,2", "1:2", "5:1:1", "1:5:0", "-3", "1:2:3:4", "1.5"})
    CHECK(contains(message_of<UsageError>([&] { parse_steps(text); }), "--expect-steps"));
  CHECK(contains(message_of<UsageError>([] { parse_steps("0:9000000000:1"); }), "more than"));
}

TEST_CASE("a hole in a regular series is found", "[sweep]") {
  CHECK(missing_names({"step0", "step200", "step400", "step800", "step1000"}) == Names{"step600"});
  CHECK(missing_names({"step1", "step2", "step1000", "step2000", "step3000", "step4000", "step6000"}) ==
        Names{"step5000"});
}

TEST_CASE("no hole is invented where the series is not regular", "[sweep]") {
  CHECK(missing_names({"step0", "step100", "step1000"}).empty());
  CHECK(missing_names({"step1", "step2", "step4", "step8", "step16"}).empty());
  CHECK(missing_names({"step0", "step1000", "step2000", "step3000", "step100000"}).empty());
  CHECK(missing_names({"main", "other"}).empty());
  CHECK(missing_names({"step0", "step200", "step400", "step600"}).empty());
}

TEST_CASE("each folder is a series of its own", "[sweep]") {
  CHECK(missing_names({"a/step0", "a/step1", "a/step2", "a/step4", "a/step5", "b/step0", "b/step10"}) ==
        Names{"a/step3"});
}

TEST_CASE("expected steps decide alone", "[sweep]") {
  CHECK(missing_names({"step0", "step2", "step3"}, {0, 1, 2}) == Names{"step1"});
  CHECK(missing_names({"step0", "step200", "step400", "step800"}, {0, 200}).empty());
  CHECK(missing_names({"main"}, {5}) == Names{"step5"});
}

TEST_CASE("a missing step is named after its neighbours", "[sweep]") {
  CHECK(missing_names({"iter_0000100", "iter_0000300"}, {100, 200, 300}) == Names{"iter_0000200"});
  CHECK(missing_names({"run x/step1-tokens2B"}, {1, 2}) == Names{"run%20x/step2"});
}
