#include "sweep/shard.h"

#include <map>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

Environment with(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

Environment array_task(const char* id, const char* least, const char* most, const char* count, const char* step) {
  return with({{"SLURM_ARRAY_TASK_ID", id},
               {"SLURM_ARRAY_TASK_MIN", least},
               {"SLURM_ARRAY_TASK_MAX", most},
               {"SLURM_ARRAY_TASK_COUNT", count},
               {"SLURM_ARRAY_TASK_STEP", step}});
}

std::string refusal(const std::string& text, const Environment& environment = with({})) {
  return message_of<UsageError>([&] { parse_shard(text, environment); });
}

}  // namespace

TEST_CASE("the parts cover every checkpoint once and differ by at most one", "[sweep]") {
  for (const std::int64_t total : {0, 1, 7, 154})
    for (const std::int64_t count : {1, 2, 8, 200}) {
      std::int64_t covered = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const Shard shard{i, count};
        CHECK(shard.begin(total) == covered);
        CHECK((shard.end(total) - covered == total / count || shard.end(total) - covered == total / count + 1));
        covered = shard.end(total);
      }
      CHECK(covered == total);
    }
}

TEST_CASE("the line of a shard says part and size", "[sweep]") {
  CHECK(shard_line({3, 8}, 154) == "shard 3/8: 20 of 154");
  CHECK(shard_line({}, 9) == "shard 0/1: 9 of 9");
}

TEST_CASE("shards are given as i/n, from 0", "[sweep]") {
  CHECK(parse_shard("none", with({})).count == 1);
  CHECK(parse_shard("3/8", with({})).index == 3);
  CHECK(parse_shard("3/8", with({})).count == 8);
  CHECK(contains(refusal("8/8"), "count from 0"));
  for (const char* text : {"-1/8", "3", "a/b", "1/0", "", "1/2/3", "Slurm"}) CHECK_FALSE(refusal(text).empty());
}

TEST_CASE("a Slurm task is (ID - MIN) / STEP of COUNT", "[sweep]") {
  const Shard zero_based = parse_shard("slurm", array_task("2", "0", "3", "4", "1"));
  CHECK((zero_based.index == 2 && zero_based.count == 4));
  const Shard odd = parse_shard("slurm", array_task("16", "10", "19", "4", "3"));
  CHECK((odd.index == 2 && odd.count == 4));
  const Shard single = parse_shard("slurm", array_task("7", "7", "7", "1", "1"));
  CHECK((single.index == 0 && single.count == 1));
}

TEST_CASE("an irregular Slurm array is refused", "[sweep]") {
  CHECK(contains(refusal("slurm", array_task("3", "1", "7", "3", "1")), "not regular"));   // --array=1,3,7
  CHECK(contains(refusal("slurm", array_task("5", "0", "20", "5", "4")), "not regular"));  // 5 tasks would end at 16
  CHECK(contains(refusal("slurm", array_task("x", "0", "3", "4", "1")), "no number"));
  CHECK(contains(refusal("slurm"), "SLURM_ARRAY_TASK_ID"));
}

TEST_CASE("a torchrun rank is RANK of WORLD_SIZE", "[sweep]") {
  const Shard rank = parse_shard("torchrun", with({{"RANK", "1"}, {"WORLD_SIZE", "2"}}));
  CHECK((rank.index == 1 && rank.count == 2));
  CHECK(contains(refusal("torchrun"), "RANK"));
}

TEST_CASE("a task or rank that sweeps everything gets a hint", "[sweep]") {
  CHECK(contains(*shard_hint("none", with({{"SLURM_ARRAY_TASK_ID", "3"}})), "--shard slurm"));
  CHECK(contains(*shard_hint("none", with({{"RANK", "0"}, {"WORLD_SIZE", "2"}})), "--shard torchrun"));
  CHECK_FALSE(shard_hint("none", with({})));
  CHECK_FALSE(shard_hint("none", with({{"RANK", "0"}, {"WORLD_SIZE", "1"}})));
  CHECK_FALSE(shard_hint("slurm", with({{"SLURM_ARRAY_TASK_ID", "3"}})));
}
