#include "check/run_check.h"

#include "base/error.h"
#include "check/update_baseline.h"
#include "files/temporary.h"
#include "report/report.h"
#include "small_report.h"

using namespace sinkscope;

namespace {

/// A sweep in `folder`: its index, and the reports given by name; null: a checkpoint that failed.
std::string sweep(const TemporaryFolder& folder, const std::string& name,
                  const std::vector<std::pair<std::string, Json>>& reports) {
  std::filesystem::create_directory(folder / name);
  Json index = {{"schema_version", "1.0"}, {"kind", "sweep"}, {"model", "m.pt"}, {"checkpoints", Json::array()}};
  for (const auto& [checkpoint, report] : reports) {
    if (!report.is_null()) folder.file(name + "/" + checkpoint + ".json", dump(report));
    index["checkpoints"].push_back({{"name", checkpoint},
                                    {"report", report.is_null() ? Json() : Json(checkpoint + ".json")},
                                    {"status", report.is_null() ? "failed" : "done"},
                                    {"message", report.is_null() ? Json("no such tensor") : Json()}});
  }
  folder.file(name + "/sweep.json", index.dump());
  return folder / name;
}

Outcome check(const std::string& fresh, const std::vector<std::string>& baselines, CheckConfig config = {}) {
  config.fresh = fresh;
  config.baselines = baselines;
  return run_check(config);
}

std::vector<std::pair<std::string, Status>> statuses(const Outcome& outcome) {
  std::vector<std::pair<std::string, Status>> all;
  for (const Comparison& c : outcome.comparisons)
    if (c.metric == "*" || c.metric == "loss") all.emplace_back(c.checkpoint, c.status);
  return all;
}

}  // namespace

TEST_CASE("checkpoints of sweeps are compared with their namesakes; others are MISSING or NEW", "[check]") {
  const TemporaryFolder folder;
  const Json moved = changed({{"/metrics/loss/value", 9.0}});
  const auto old = sweep(folder, "old", {{"a", small_report()}, {"b", small_report()}, {"c", small_report()}});
  const auto fresh = sweep(folder, "new", {{"b", moved}, {"a", small_report()}, {"d", small_report()}});
  const Outcome outcome = check(fresh, {old});
  CHECK(statuses(outcome) ==
        std::vector<std::pair<std::string, Status>>{
            {"b", Status::fail}, {"a", Status::pass}, {"d", Status::only_new}, {"c", Status::missing}});
  CHECK_FALSE(outcome.ok);
}

TEST_CASE("a checkpoint that failed in NEW is MISSING with the reason, one that failed in both a warning", "[check]") {
  const TemporaryFolder folder;
  const auto old = sweep(folder, "old", {{"a", small_report()}, {"b", nullptr}, {"c", nullptr}});
  const auto fresh = sweep(folder, "new", {{"a", nullptr}, {"b", nullptr}, {"c", small_report()}});
  const Outcome outcome = check(fresh, {old});
  CHECK(statuses(outcome) == std::vector<std::pair<std::string, Status>>{
                                 {"a", Status::missing}, {"b", Status::warn}, {"c", Status::only_new}});
  CHECK(contains(outcome.comparisons[0].message, "failed: no such tensor"));
}

TEST_CASE("a rule must match in one checkpoint, not in all", "[check]") {
  const TemporaryFolder folder;
  Json less = small_report();
  less["metrics"].erase("loss");
  CheckConfig config;
  config.rules = folder.file("rules.toml", rule("metric='loss'"));
  const auto with = sweep(folder, "with", {{"a", less}, {"b", small_report()}});
  CHECK(check(with, {with}, config).ok);
  const auto without = sweep(folder, "without", {{"a", less}});
  CHECK_THROWS_AS(check(without, {without}, config), UsageError);
}

TEST_CASE("a gate over nothing is refused", "[check]") {
  const TemporaryFolder folder;
  const auto empty = sweep(folder, "empty", {});
  CHECK(contains(message_of<UsageError>([&] { check(empty, {empty}); }), "nothing to compare"));
  Json bare = small_report();
  bare["metrics"] = Json::object();
  const auto file = folder.file("bare.json", dump(bare));
  CHECK(contains(message_of<UsageError>([&] { check(file, {file}); }), "hold no metric"));
}

TEST_CASE("a report is not compared with a sweep", "[check]") {
  const TemporaryFolder folder;
  const auto directory = sweep(folder, "s", {{"a", small_report()}});
  const auto file = folder.file("a.json", dump(small_report()));
  CHECK_THROWS_AS(check(file, {directory}), UsageError);
  CHECK_THROWS_AS(check(directory, {file}), UsageError);
}

TEST_CASE("what is no baseline of NaN or of an interrupted run", "[check]") {
  CHECK_FALSE(unfit_for_baseline(small_report()));
  CHECK(unfit_for_baseline(changed({{"/complete", false}}))->code == Exit::input);
  CHECK(unfit_for_baseline(changed({{"/metrics/loss/rejected", 1}}))->code == Exit::numerical);
  CHECK(unfit_for_baseline(changed({{"/metrics/loss/value", nullptr}}))->code == Exit::numerical);
  // Undefined, and resting on nothing.
  CHECK_FALSE(unfit_for_baseline(changed({{"/metrics/loss/value", nullptr}, {"/metrics/loss/count", 0}})));
}

TEST_CASE("notes say what differs without mattering", "[check]") {
  const TemporaryFolder folder;
  const auto old = folder.file("old.json", dump(small_report()));
  const auto fresh = folder.file("new.json", dump(changed({{"/sites/1/path", "x.attn"}})));
  CHECK(check(fresh, {old}).notes == std::vector<std::string>{"site 1: path m.layers.1.attn -> x.attn"});
  CHECK(contains(check(old, {old}).notes.at(0), "NEW and OLD are the same"));
}
