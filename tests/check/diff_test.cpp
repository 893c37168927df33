#include "check/diff.h"

#include "base/error.h"
#include "files/temporary.h"
#include "report/report.h"
#include "small_report.h"

using namespace sinkscope;

namespace {

Diff diff_of(const Json& a, const Json& b) {
  const TemporaryFolder folder;
  return diff(folder.file("a.json", dump(a)), folder.file("b.json", dump(b)));
}

bool names_fact(const Diff& diff, const std::string& name) {
  for (const FactDifference& fact : diff.facts)
    if (fact.name == name) return true;
  return false;
}

}  // namespace

TEST_CASE("a report does not differ from itself", "[check]") {
  const Diff same = diff_of(small_report(), small_report());
  CHECK_FALSE(same.differs());
  CHECK(same.facts.empty());
  CHECK(same.compared == 3 + 2 + 4 + 2 + 4 + 3);  // headlines, sites, heads, by_epsilon, tail, ratio
}

TEST_CASE("when and by whom a report was made is no difference", "[check]") {
  CHECK_FALSE(
      diff_of(small_report(), changed({{"/created", "2027-01-01T00:00:00Z"}, {"/run/seconds", 9.0}})).differs());
}

TEST_CASE("the machine is shown and does not count", "[check]") {
  const Diff other = diff_of(small_report(), changed({{"/settings/threads", 64}, {"/model/path", "elsewhere.pt"}}));
  CHECK(names_fact(other, "settings.threads"));
  CHECK(names_fact(other, "model.path"));
  CHECK_FALSE(other.differs());
}

TEST_CASE("dtype and input differ and all numbers are compared all the same", "[check]") {
  const Diff other = diff_of(small_report(), changed({{"/settings/dtype", "bfloat16"},
                                                      {"/input/sha256", std::string(64, 'f')},
                                                      {"/metrics/sink_rate/parameters/epsilon", 0.2},
                                                      {"/metrics/loss/value", 2.5}}));
  for (const char* name : {"settings.dtype", "input.sha256", "metrics.sink_rate.parameters.epsilon"})
    CHECK(names_fact(other, name));
  REQUIRE(other.changes.size() == 1);
  CHECK(other.changes[0].numbers.change == 0.5);
  CHECK(other.changes[0].units == near(5, 1e-12));  // 5 % of 2
  CHECK(other.differs());
}

TEST_CASE("the largest change in units of tolerance comes first", "[check]") {
  const Diff other = diff_of(small_report(), changed({{"/metrics/loss/value", 2.2},              // 2 units
                                                      {"/metrics/sink_rate/value", 0.6},         // 5 units
                                                      {"/metrics/sink_rate/per_head/0/0", 0.5},  // 15 units
                                                      {"/metrics/massive_activation/value", nullptr}}));
  REQUIRE(other.changes.size() == 4);
  CHECK(other.changes[0].numbers.metric == "massive_activation");
  CHECK(other.changes[1].numbers.head == 0u);
  CHECK(other.changes[2].numbers.metric == "sink_rate");
  CHECK(other.changes[3].numbers.metric == "loss");
}

TEST_CASE("a metric and a site of one report only are differences", "[check]") {
  Json less = small_report();
  less["metrics"].erase("loss");
  CHECK(names_fact(diff_of(small_report(), less), "metrics.loss"));
  less = small_report();
  less["sites"].erase(1);
  CHECK(names_fact(diff_of(small_report(), less), "number of sites"));
}

TEST_CASE("the text shows so many rows and counts the others, the JSON has all", "[check]") {
  const Diff other = diff_of(small_report(), changed({{"/metrics/sink_rate/per_head", {{0.3, 0.5}, {0.7, 0.9}}}}));
  CHECK(contains(diff_as_text(other, 1, false), "... and 3 more"));
  CHECK(contains(diff_as_text(other, 1, false), "4 of 18 numbers differ"));
  CHECK(diff_as_json(other)["changes"].size() == 4);
  CHECK(diff_as_json(other)["changes"][0]["scope"] == "head");
}
