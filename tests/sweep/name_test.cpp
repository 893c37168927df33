#include "sweep/name.h"

#include <filesystem>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

NamedStep step_in(const std::string& name) { return StepReader().read(name); }

}  // namespace

TEST_CASE("a name is the path below the common parent without the ending", "[sweep]") {
  using Names = std::vector<std::string>;
  CHECK(names_below_common_parent({"/a/b/step0.safetensors", "/a/b/step1.safetensors"}) == Names{"step0", "step1"});
  CHECK(names_below_common_parent({"/a/x/step0.safetensors", "/a/y/step0.safetensors"}) == Names{"x/step0", "y/step0"});
  CHECK(names_below_common_parent({"/a/step0/model.safetensors", "/a/step1/"}) == Names{"step0", "step1"});
  CHECK(names_below_common_parent({"/a/step0/model.safetensors.index.json"}) == Names{"step0"});
  CHECK(names_below_common_parent({"/a/only.pt"}) == Names{"only"});
  CHECK(names_below_common_parent({"/a/b", "/a/b/c"}) == Names{"b", "b/c"});
  CHECK(names_below_common_parent({"/a/run1/x.pt", "/a/run10/x.pt"}) == Names{"run1/x", "run10/x"});
}

TEST_CASE("dots in a path are resolved before it becomes a name", "[sweep]") {
  CHECK(names_below_common_parent({"/a/b/../c/x.pt", "/a/c/./y.pt"}) == std::vector<std::string>{"x", "y"});
}

TEST_CASE("odd bytes of a name are percent-encoded and folders stay", "[sweep]") {
  CHECK(encode_name("run a/step 1") == "run%20a/step%201");
  CHECK(encode_name("line\nend") == "line%0Aend");
  CHECK(encode_name("größe") == "gr%C3%B6%C3%9Fe");
  CHECK(encode_name("100%") == "100%25");
  CHECK(encode_name("-step1/.hidden") == "%2Dstep1/%2Ehidden");
  CHECK(encode_name("a-b.c_d") == "a-b.c_d");
}

TEST_CASE("no name leaves the directory or meets its index", "[sweep]") {
  CHECK(encode_name("../../etc/passwd") == "%2E./%2E./etc/passwd");
  CHECK(encode_name("/etc/passwd") == "etc/passwd");
  CHECK(encode_name("a//b/") == "a/b");
  CHECK(encode_name("sweep") == "%73weep");
  CHECK(encode_name("a.json/b") == "a%2Ejson/b");
  CHECK(encode_name("a.json") == "a.json");
  CHECK_THROWS_AS(encode_name(""), UsageError);
  CHECK_THROWS_AS(encode_name("//"), UsageError);
  CHECK(contains(message_of<UsageError>([] { encode_name(std::string(300, 'x')); }), "--manifest"));
}

TEST_CASE("the step is read from the names that training tools write", "[sweep]") {
  CHECK(step_in("step1000").step == 1000);
  CHECK(step_in("run/step0").step == 0);
  CHECK(step_in("checkpoint-500").step == 500);
  CHECK(step_in("iter_0001000").step == 1000);
  CHECK(step_in("global_step143000").step == 143000);
  CHECK(step_in("STEP_12").step == 12);
  CHECK_FALSE(step_in("main").step);
  CHECK_FALSE(step_in("backstep7").step);
  CHECK_FALSE(step_in("1000").step);
  CHECK_FALSE(step_in("step99999999999999999999").step);
}

TEST_CASE("tokens are read with their unit", "[sweep]") {
  const NamedStep stage1 = step_in("stage1-step928646-tokens3896B");
  CHECK(stage1.step == 928646);
  CHECK(stage1.training_tokens == 3'896'000'000'000);
  const NamedStep stage2 = step_in("stage2-ingredient1-step11931-tokens50B");
  CHECK(stage2.step == 11931);
  CHECK(stage2.training_tokens == 50'000'000'000);
  CHECK(step_in("step5-tokens20M").training_tokens == 20'000'000);
  CHECK(step_in("step5-tokens20").training_tokens == 20);
  CHECK_FALSE(step_in("step5").training_tokens);
}

TEST_CASE("the last step of a path counts", "[sweep]") {
  CHECK(step_in("from_step5/step1000").step == 1000);
  CHECK(step_in("step7/model").step == 7);
}

TEST_CASE("steps of one series share their place", "[sweep]") {
  CHECK(step_in("run/step600-tokens1B").place == StepPlace{"run/step", "", 0});
  CHECK(step_in("run/step800-tokens2B").place == step_in("run/step600-tokens1B").place);
  CHECK(step_in("iter_0001000").place.width == 7);
  CHECK(step_in("step0").place.width == 0);
  CHECK(step_in("a/step1").place != step_in("b/step1").place);
}

TEST_CASE("a pattern of the user's finds the step by name or by order", "[sweep]") {
  CHECK(StepReader("it(\\d+)").read("it20").step == 20);
  CHECK(StepReader("e(\\d+)-t(\\d+)").read("e3-t70").training_tokens == 70);
  CHECK(StepReader("(a|b)-(?<step>\\d+)").read("b-9").step == 9);
  CHECK(StepReader("(?P<tokens>\\d+)@(?P<step>\\d+)").read("5@6").step == 6);
  CHECK(StepReader("(?P<tokens>\\d+)@(?P<step>\\d+)").read("5@6").training_tokens == 5);
  CHECK(StepReader("(?:(\\w+)-)?s(?<step>\\d+)").read("x-s4").step == 4);
  CHECK(StepReader("[(]?\\((\\d+)").read("((8").step == 8);
}

TEST_CASE("a pattern that cannot work is refused", "[sweep]") {
  CHECK(contains(message_of<UsageError>([] { StepReader("step\\d+"); }), "group"));
  CHECK(contains(message_of<UsageError>([] { StepReader("(step"); }), "not a regular expression"));
}

TEST_CASE("a path in a hub cache is named by the revisions that lead there", "[sweep]") {
  const TemporaryFolder folder;
  namespace fs = std::filesystem;
  for (const char* name : {"m/refs/pr", "m/snapshots/abc", "m/snapshots/def"}) fs::create_directories(folder / name);
  folder.file("m/refs/step3000", "abc");
  folder.file("m/refs/main", "abc\n");
  folder.file("m/refs/pr/1", "def");
  CHECK(hub_revisions(folder / "m/snapshots/abc/model.safetensors") == std::vector<std::string>{"main", "step3000"});
  CHECK(hub_revisions(folder / "m/snapshots/def") == std::vector<std::string>{"pr/1"});
  CHECK(hub_revisions(folder / "m/snapshots/none/model.safetensors").empty());
  CHECK(hub_revisions(folder / "elsewhere/model.safetensors").empty());
}
