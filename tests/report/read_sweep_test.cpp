#include "report/read_sweep.h"

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

std::string refusal(const std::string& index) {
  const TemporaryFolder folder;
  folder.file("sweep.json", index);
  return message_of<InputError>([&] { read_sweep(folder.path()); });
}

}  // namespace

TEST_CASE("a sweep lists its checkpoints with their reports; a duplicate has that of its twin", "[report]") {
  const TemporaryFolder folder;
  folder.file("sweep.json", R"({"schema_version": "1.4", "kind": "sweep", "checkpoints": [
    {"name": "step0", "report": "step0.json", "status": "done"},
    {"name": "step1", "report": null, "status": "duplicate", "duplicate_of": "step0"},
    {"name": "a/step2", "report": null, "status": "failed", "message": "disk full"},
    {"name": "step3", "status": "pending"}]})");
  const auto entries = read_sweep(folder.path());
  REQUIRE(entries.size() == 4);
  CHECK(entries[0].report == folder.path() + "/step0.json");
  CHECK(entries[1].report == entries[0].report);
  CHECK(entries[2].report == "");
  CHECK(entries[2].problem == "failed: disk full");
  CHECK(entries[3].problem == "pending");
}

TEST_CASE("a folder that holds no sweep, or a damaged one, is refused", "[report]") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<InputError>([&] { read_sweep(folder.path()); }), "holds no sweep.json"));
  CHECK(contains(refusal("{"), "cut off"));
  CHECK(contains(refusal("[]"), "not of kind sweep"));
  CHECK(contains(refusal(R"({"kind": "measure"})"), "not of kind sweep"));
  CHECK(contains(refusal(R"({"kind": "sweep", "schema_version": "2.0"})"), "reads 1.x"));
  CHECK(contains(refusal(R"({"kind": "sweep", "schema_version": "1.0", "checkpoints": {}})"), "no array"));
  CHECK(contains(refusal(R"({"kind": "sweep", "schema_version": "1.0", "checkpoints": [1]})"), "without a name"));
  CHECK(
      contains(refusal(R"({"kind": "sweep", "schema_version": "1.0", "checkpoints": [{"name": "a"}, {"name": "a"}]})"),
               "two checkpoints are called a"));
}
