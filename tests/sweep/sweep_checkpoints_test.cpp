#include "sweep/sweep_checkpoints.h"

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "catch.h"
#include "files/mapped_file.h"
#include "made_sweep.h"
#include "sweep/name.h"

using namespace sinkscope;
using Names = std::vector<std::string>;
namespace fs = std::filesystem;

namespace {

nlohmann::ordered_json index_of(const std::string& directory) {
  return nlohmann::ordered_json::parse(read_text(directory + "/sweep.json"));
}

}  // namespace

TEST_CASE("every checkpoint is measured once, in the order of its step, and indexed", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step1000.safetensors", 3), write_weights(folder, "step0.safetensors", 1),
                       write_weights(folder, "step200.safetensors", 2)};
  MadeSweep sweep(folder / "out");
  const SweepResult result = sweep.run(paths);
  CHECK(sweep.measured == Names{"step0", "step200", "step1000"});
  CHECK_FALSE(result.interrupted);
  const auto index = index_of(folder / "out");
  CHECK(index["schema_version"] == kSchemaVersion);
  CHECK(index["kind"] == "sweep");
  CHECK(index["model"]["path"] == "graph.pt");
  REQUIRE(index["checkpoints"].size() == 3);
  const auto& row = index["checkpoints"][1];
  CHECK(row["name"] == "step200");
  CHECK(row["step"] == 200);
  CHECK(row["training_tokens"].is_null());
  CHECK(row["report"] == "step200.json");
  CHECK(row["status"] == "done");
  CHECK(row["duplicate_of"].is_null());
  CHECK(row["message"].is_null());
  CHECK(row["sha256"] == sha256_of_checkpoint(folder / "step200.safetensors", CheckpointKind::weights));
}

TEST_CASE("a second run measures nothing and changes no file", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step1.safetensors", 2)};
  MadeSweep sweep(folder / "out");
  sweep.run(paths);
  const std::string index = content_of(folder / "out/sweep.json");
  const auto written = fs::last_write_time(folder / "out/step1.json");
  sweep.run(paths);
  CHECK(sweep.measured.empty());
  CHECK(content_of(folder / "out/sweep.json") == index);
  CHECK(fs::last_write_time(folder / "out/step1.json") == written);
}

TEST_CASE("what is half-written, of other weights or of another configuration is measured again", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step1.safetensors", 2),
                       write_weights(folder, "step2.safetensors", 3)};
  MadeSweep sweep(folder / "out");
  sweep.run(paths);
  SECTION("half-written") {
    const std::string text = content_of(folder / "out/step1.json");
    folder.file("out/step1.json", text.substr(0, text.size() / 2));
    sweep.run(paths);
    CHECK(sweep.measured == Names{"step1"});
  }
  SECTION("incomplete") {
    auto report = nlohmann::ordered_json::parse(content_of(folder / "out/step1.json"));
    report["complete"] = false;
    folder.file("out/step1.json", dump(report));
    sweep.run(paths);
    CHECK(sweep.measured == Names{"step1"});
  }
  SECTION("gone") {
    fs::remove(folder / "out/step0.json");
    sweep.run(paths);
    CHECK(sweep.measured == Names{"step0"});
  }
  SECTION("other weights") {
    write_weights(folder, "step2.safetensors", 30);
    sweep.run(paths);
    CHECK(sweep.measured == Names{"step2"});
  }
  SECTION("another configuration") {
    sweep.identity.config_sha256 = sha256_of("another");
    sweep.run(paths);
    CHECK(sweep.measured.size() == 3);
  }
  SECTION("another graph") {
    sweep.identity.graph_sha256 = sha256_of("another");
    sweep.run(paths);
    CHECK(sweep.measured.size() == 3);
  }
  SECTION("another token file") {
    sweep.identity.tokens_sha256 = sha256_of("another");
    sweep.run(paths);
    CHECK(sweep.measured.size() == 3);
  }
  CHECK(index_of(folder / "out")["checkpoints"][2]["status"] == "done");
}

TEST_CASE("other labels are written into finished reports without measuring", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1)};
  MadeSweep sweep(folder / "out");
  sweep.run(paths);
  sweep.config.settings.labels = {{"run", "b"}};
  sweep.run(paths);
  CHECK(sweep.measured.empty());
  const auto report = nlohmann::ordered_json::parse(content_of(folder / "out/step0.json"));
  CHECK(report["labels"] == nlohmann::ordered_json({{"run", "b"}, {"checkpoint", "step0"}, {"step", "0"}}));
}

TEST_CASE("a hash is trusted while size, time and inode agree, and not with --rehash", "[sweep]") {
  const TemporaryFolder folder;
  const std::string path = write_weights(folder, "step0.safetensors", 1);
  MadeSweep sweep(folder / "out");
  sweep.run({path});
  // The same file with other bytes, which nothing but the bytes tells.
  const auto time = fs::last_write_time(path);
  std::string bytes = content_of(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << bytes;
  fs::last_write_time(path, time);
  sweep.run({path});
  CHECK(sweep.measured.empty());
  sweep.config.rehash = true;
  sweep.run({path});
  CHECK(sweep.measured == Names{"step0"});
}

TEST_CASE("identical weights are measured once, marked, and have their report and row", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step1.safetensors", 1),
                       write_weights(folder, "step2.safetensors", 2)};
  MadeSweep sweep(folder / "out");
  const SweepResult result = sweep.run(paths);
  CHECK(sweep.measured == Names{"step0", "step2"});
  CHECK(statuses(result.index) == Names{"step0 done", "step1 duplicate", "step2 done"});
  const auto row = index_of(folder / "out")["checkpoints"][1];
  CHECK(row["duplicate_of"] == "step0");
  CHECK(row["report"] == "step1.json");
  const auto report = nlohmann::ordered_json::parse(content_of(folder / "out/step1.json"));
  CHECK(report["labels"]["checkpoint"] == "step1");
  CHECK(report["labels"]["step"] == "1");
  CHECK(report["model"]["weights"]["path"] == paths[1]);
}

TEST_CASE("the first of identical weights is the original, whichever shard measured", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step1.safetensors", 1)};
  MadeSweep sweep(folder / "out");
  sweep.run(paths, {1, 2});
  CHECK(sweep.measured == Names{"step1"});
  const SweepResult result = sweep.run(paths, {0, 2});
  CHECK(sweep.measured.empty());
  CHECK(statuses(result.index) == Names{"step0 done", "step1 duplicate"});
}

TEST_CASE("a failure is recorded and the rest goes on; a later success clears it", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), folder.file("step1.safetensors", "damaged"),
                       write_weights(folder, "step2.safetensors", 2), folder / "step3.safetensors"};
  MadeSweep sweep(folder / "out");
  const SweepResult result = sweep.run(paths);
  CHECK(result.failed == 2);
  CHECK(statuses(result.index) == Names{"step0 done", "step1 failed", "step2 done", "step3 failed"});
  const auto rows = index_of(folder / "out")["checkpoints"];
  CHECK(contains(rows[1]["message"].get<std::string>(), "not a valid safetensors file"));
  CHECK(contains(rows[3]["message"].get<std::string>(), "cannot be read"));
  CHECK(rows[1]["report"].is_null());
  CHECK(contains(sweep.said, "step1: failed"));
  write_weights(folder, "step1.safetensors", 5);
  write_weights(folder, "step3.safetensors", 6);
  CHECK(statuses(sweep.run(paths).index) == Names{"step0 done", "step1 done", "step2 done", "step3 done"});
  CHECK(sweep.measured == Names{"step1", "step3"});
}

TEST_CASE("a checkpoint that is written while it is measured has failed", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step1.safetensors", 2)};
  MadeSweep sweep(folder / "out");
  const auto measure = sweep.hooks.measure;
  sweep.hooks.measure = [&](const SweepCheckpoint& checkpoint, const HashedCheckpoint& hashed) {
    if (checkpoint.name == "step0")  // the same size, another time
      fs::last_write_time(checkpoint.path, fs::last_write_time(checkpoint.path) + std::chrono::seconds(1));
    return measure(checkpoint, hashed);
  };
  CHECK(statuses(sweep.run(paths).index) == Names{"step0 failed", "step1 done"});
  CHECK(contains(sweep.said, "step0: failed"));
  CHECK(contains(sweep.said, "changed while it was read"));
  sweep.hooks.measure = measure;
  CHECK(statuses(sweep.run(paths).index) == Names{"step0 done", "step1 done"});
}

TEST_CASE("an error that is no checkpoint's ends the sweep and keeps what is finished", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step1.safetensors", 2)};
  MadeSweep sweep(folder / "out");
  const auto measure = sweep.hooks.measure;
  sweep.hooks.measure = [&](const SweepCheckpoint& checkpoint, const HashedCheckpoint& hashed) {
    if (checkpoint.name == "step1") throw DeviceError("out of memory");
    return measure(checkpoint, hashed);
  };
  CHECK_THROWS_AS(sweep.run(paths), DeviceError);
  sweep.hooks.measure = measure;
  sweep.run(paths);
  CHECK(sweep.measured == Names{"step1"});
}

TEST_CASE("an interrupted sweep leaves the rest pending and goes on later", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step1.safetensors", 2),
                       write_weights(folder, "step2.safetensors", 3)};
  MadeSweep sweep(folder / "out");
  sweep.hooks.interrupted = [&] { return sweep.measured.size() == 1; };
  const SweepResult result = sweep.run(paths);
  CHECK(result.interrupted);
  CHECK(statuses(result.index) == Names{"step0 done", "step1 pending", "step2 pending"});
  sweep.hooks.interrupted = [] { return false; };
  sweep.run(paths);
  CHECK(sweep.measured == Names{"step1", "step2"});
}

TEST_CASE("an interruption within a checkpoint discards it", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1)};
  MadeSweep sweep(folder / "out");
  bool stop = false;
  sweep.hooks.interrupted = [&] { return stop; };
  sweep.hooks.measure = [&](const auto&, const auto&) {
    stop = true;
    return std::optional<nlohmann::ordered_json>();
  };
  CHECK(sweep.run(paths).interrupted);
  CHECK_FALSE(fs::exists(folder / "out/step0.json"));
}

TEST_CASE("shards and --merge give the index of one process", "[sweep]") {
  const TemporaryFolder folder;
  Names paths;
  for (const int step : {0, 1, 2, 3, 5}) {
    paths.push_back(folder / ("step" + std::to_string(step) + ".safetensors"));
    write_weights(folder, "step" + std::to_string(step) + ".safetensors", static_cast<float>(step / 2));
  }
  MadeSweep whole(folder / "whole"), parts(folder / "parts");
  whole.run(paths);
  std::size_t measured = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    parts.run(paths, {i, 3});
    measured += parts.measured.size();
  }
  CHECK(measured == 3);  // 0, 0, 1, 1, 2
  SweepConfig merge;
  merge.merge = true;
  merge.directory = folder / "parts";
  merge_sweep(merge);
  CHECK(content_of(folder / "parts/sweep.json") == content_of(folder / "whole/sweep.json"));
  merge_sweep(merge);
  CHECK(content_of(folder / "parts/sweep.json") == content_of(folder / "whole/sweep.json"));
  fs::remove_all(folder / "parts/.sinkscope");  // as if only the reports had been copied here
  merge_sweep(merge);
  const auto rows = index_of(folder / "parts")["checkpoints"];
  CHECK(rows == index_of(folder / "whole")["checkpoints"]);
}

TEST_CASE("a directory without a sweep cannot be merged", "[sweep]") {
  const TemporaryFolder folder;
  SweepConfig merge;
  merge.directory = folder.path();
  CHECK_THROWS_AS(merge_sweep(merge), UsageError);
  merge.directory = folder / "none";
  CHECK_THROWS_AS(merge_sweep(merge), UsageError);
}

TEST_CASE("missing steps have a row", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1), write_weights(folder, "step2.safetensors", 2)};
  MadeSweep sweep(folder / "out");
  CHECK(statuses(sweep.run(paths, {}, {0, 1, 2}).index) == Names{"step0 done", "step1 missing", "step2 done"});
}

TEST_CASE("what a killed process has left half-written is removed", "[sweep]") {
  const TemporaryFolder folder;
  const Names paths = {write_weights(folder, "step0.safetensors", 1)};
  fs::create_directory(folder / "out");
  folder.file("out/.step0.json.4711-0.tmp", "{");
  folder.file("out/.sweep.json.4711-0.tmp", "{");
  folder.file("out/.step00.json.4711-0.tmp", "of another");
  MadeSweep sweep(folder / "out");
  sweep.run(paths);
  CHECK_FALSE(fs::exists(folder / "out/.step0.json.4711-0.tmp"));
  CHECK_FALSE(fs::exists(folder / "out/.sweep.json.4711-0.tmp"));
  CHECK(fs::exists(folder / "out/.step00.json.4711-0.tmp"));
}

TEST_CASE("nothing is written outside the sweep directory", "[sweep]") {
  const TemporaryFolder folder;
  folder.file("m.jsonl", "");
  write_weights(folder, "a.safetensors", 1);
  MadeSweep sweep(folder / "out");
  SweepPlan plan;
  plan.checkpoints.push_back({encode_name("../../up/a b"), folder / "a.safetensors", 1, {}, {}});
  const std::size_t before = folder.files();
  sweep_checkpoints(sweep.config, plan, sweep.identity, nullptr, sweep.hooks);
  CHECK(folder.files() == before + 1);
  CHECK(fs::exists(folder / "out/%2E./%2E./up/a%20b.json"));
}

TEST_CASE("a file where the directory should be is refused", "[sweep]") {
  const TemporaryFolder folder;
  MadeSweep sweep(folder.file("out", ""));
  CHECK_THROWS_AS(sweep.run({write_weights(folder, "step0.safetensors", 1)}), UsageError);
}
