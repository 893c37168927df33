#include "sweep/manifest.h"

#include <filesystem>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

std::string problem(const std::string& text) {
  const TemporaryFolder folder;
  const std::string path = folder.file("m.jsonl", text);
  return message_of<InputError>([&] { read_manifest(path, {}); });
}

std::vector<std::string> names_of(const std::vector<SweepCheckpoint>& checkpoints) {
  std::vector<std::string> names;
  for (const SweepCheckpoint& checkpoint : checkpoints) names.push_back(checkpoint.name);
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("checkpoints are sorted by step, those without one last", "[sweep]") {
  const auto found = name_checkpoints({"/c/step1000.safetensors", "/c/main.safetensors", "/c/step200.safetensors"}, {});
  CHECK(names_of(found) == Names{"step200", "step1000", "main"});
  CHECK(found[0].step == 200);
  CHECK(found[0].path == "/c/step200.safetensors");
}

TEST_CASE("a path given twice is one checkpoint", "[sweep]") {
  CHECK(name_checkpoints({"/c/step1.pt", "/c/./step1.pt", "/c/step2.pt"}, {}).size() == 2);
}

TEST_CASE("two paths with one name are refused", "[sweep]") {
  const std::string message = message_of<UsageError>([] {
    name_checkpoints({"/c/a.safetensors", "/c/a/model.safetensors"}, {});
  });
  CHECK(contains(message, "a.safetensors"));
  CHECK(contains(message, "--manifest"));
}

TEST_CASE("a pattern that matches no name is refused", "[sweep]") {
  CHECK(contains(message_of<UsageError>([] { name_checkpoints({"/c/a.pt"}, "e(\\d+)"); }), "no checkpoint name"));
  CHECK(name_checkpoints({"/c/e7.pt"}, "e(\\d+)")[0].step == 7);
}

TEST_CASE("globs that the shell has left are expanded", "[sweep]") {
  const TemporaryFolder folder;
  folder.file("step0.pt", "");
  folder.file("step1.pt", "");
  folder.file("odd[1].pt", "");
  CHECK(expand_globs({folder / "step*.pt"}) == Names{folder / "step0.pt", folder / "step1.pt"});
  CHECK(expand_globs({folder / "odd[1].pt"}) == Names{folder / "odd[1].pt"});
  CHECK(expand_globs({folder / "gone.pt"}) == Names{folder / "gone.pt"});
  CHECK_THROWS_AS(expand_globs({folder / "none*.pt"}), InputError);
}

TEST_CASE("a manifest names path, step and tokens, and what it leaves out comes from the path", "[sweep]") {
  const TemporaryFolder folder;
  folder.file("step5-tokens1B.safetensors", "");
  folder.file("other.safetensors", "");
  const std::string path = folder.file("m.jsonl",
                                       "{\"path\": \"other.safetensors\", \"step\": 3, \"training_tokens\": 7}\n"
                                       "{\"path\": \"step5-tokens1B.safetensors\"}\n"
                                       "{\"path\": \"/elsewhere/x\", \"name\": \"my run/a\"}\n");
  const auto found = read_manifest(path, {});
  REQUIRE(found.size() == 3);
  CHECK(found[0].step == 3);
  CHECK(found[0].training_tokens == 7);
  CHECK(found[0].path == folder / "other.safetensors");
  CHECK(found[1].step == 5);
  CHECK(found[1].training_tokens == 1'000'000'000);
  CHECK(found[2].name == "my%20run/a");
  CHECK_FALSE(found[2].step);
}

TEST_CASE("a name in a manifest cannot leave the directory", "[sweep]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("m.jsonl", "{\"path\": \"x\", \"name\": \"../../up\"}\n");
  CHECK(read_manifest(path, {})[0].name == "%2E./%2E./up");
}

TEST_CASE("a bad line of a manifest is named", "[sweep]") {
  const std::string good = "{\"path\": \"a\"}\n";
  CHECK(contains(problem(""), "empty"));
  CHECK(contains(problem(good + "nonsense\n"), "line 2 is no JSON object"));
  CHECK(contains(problem(good + "\n" + good), "line 2 is empty"));
  CHECK(contains(problem("[1]\n"), "line 1"));
  CHECK(contains(problem("{\"name\": \"a\"}\n"), "no path"));
  CHECK(contains(problem("{\"path\": 3}\n"), "no path"));
  CHECK(contains(problem("{\"path\": \"a\", \"stop\": 3}\n"), "did you mean 'step'"));
  CHECK(contains(problem("{\"path\": \"a\", \"step\": \"3\"}\n"), "step"));
  CHECK(contains(problem("{\"path\": \"a\", \"step\": -3}\n"), "step"));
  CHECK(contains(problem("{\"path\": \"a\", \"training_tokens\": 1.5}\n"), "training_tokens"));
  CHECK(contains(problem("{\"path\": \"a\", \"name\": \"\"}\n"), "empty name"));
  CHECK(contains(problem("{\"path\": \"a\", \"name\": \"x\"}\n{\"path\": \"b\", \"name\": \"x\"}\n"),
                 "line 2 has the name x of line 1"));
}
