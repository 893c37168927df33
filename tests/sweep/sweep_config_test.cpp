#include "sweep/sweep_config.h"

#include "catch.h"
#include "config/given.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

SweepConfig sweep(std::initializer_list<std::string> arguments) {
  return given::parsed(given::words("sweep", arguments), [](int argc, char** argv) { return parse_sweep(argc, argv); });
}

std::string refusal(std::initializer_list<std::string> arguments) {
  return message_of<UsageError>([&] { sweep(arguments); });
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("--weights takes many paths of one graph", "[sweep]") {
  const SweepConfig config = sweep({"m.pt", "--weights", "a", "b", "c", "-o", "out", "--metric", "loss"});
  CHECK(config.weights == Names{"a", "b", "c"});
  CHECK(config.settings.model == "m.pt");
  CHECK(config.directory == "out");
  CHECK(config.kind() == CheckpointKind::weights);
  CHECK_FALSE(config.settings.weights);
  CHECK_FALSE(config.settings.output);
  CHECK(config.settings.metrics.size() == 1);
}

TEST_CASE("several models are checkpoints of their own", "[sweep]") {
  const SweepConfig config = sweep({"a.pt", "b.pt", "-o", "out"});
  CHECK(config.models == Names{"a.pt", "b.pt"});
  CHECK(config.kind() == CheckpointKind::model);
}

TEST_CASE("a manifest names weights where there is a model, else models", "[sweep]") {
  CHECK(sweep({"m.pt", "--manifest", "m.jsonl", "-o", "out"}).kind() == CheckpointKind::weights);
  CHECK(sweep({"--manifest", "m.jsonl", "-o", "out"}).kind() == CheckpointKind::model);
}

TEST_CASE("--merge needs a directory and nothing else", "[sweep]") {
  const SweepConfig config = sweep({"--merge", "out", "--stays-above", "sink_rate=0.5"});
  CHECK(config.merge);
  CHECK(config.directory == "out");
  CHECK(config.stays_above == std::vector<std::pair<std::string, double>>{{"sink_rate", 0.5}});
  CHECK(contains(refusal({"m.pt", "--merge", "out"}), "--merge"));
}

TEST_CASE("a sweep that makes no sense is refused with what to do", "[sweep]") {
  CHECK(contains(refusal({}), "no MODEL given"));
  CHECK(contains(refusal({"--weights", "a", "m.pt", "-o", "out"}), "before --weights"));
  CHECK(contains(refusal({"m.pt", "--weights", "a"}), "-o DIR"));
  CHECK(contains(refusal({"m.pt", "--weights", "a", "--manifest", "b", "-o", "out"}), "exclude"));
  CHECK(contains(refusal({"m.pt", "n.pt", "--manifest", "b", "-o", "out"}), "2 MODELs"));
  CHECK(contains(refusal({"m.pt", "-o", "out", "--tokens", "-"}), "save them"));
  CHECK(contains(refusal({"m.pt", "-o", "out", "--label", "step=3"}), "--label step=3"));
  CHECK(contains(refusal({"m.pt", "-o", "out", "--stays-above", "sink_rate"}), "METRIC=VALUE"));
  CHECK(contains(refusal({"m.pt", "-o", "out", "--stays-above", "sink_rat=1"}), "sink_rate"));
  CHECK(contains(refusal({"m.pt", "-o", "out", "--shart", "1/2"}), "--shard"));
}

TEST_CASE("paths where nothing lies are refused when there is nothing at any", "[sweep]") {
  const TemporaryFolder folder;
  const Environment nothing = [](const char*) { return std::nullopt; };
  SweepConfig config = sweep({"m.pt", "--weights", folder / "step0", folder / "step1", "-o", "out"});
  CHECK(contains(message_of<InputError>([&] { plan_sweep(config, nothing); }), "nothing is there"));
  folder.file("step1", "");
  CHECK(plan_sweep(config, nothing).checkpoints.size() == 2);
}
