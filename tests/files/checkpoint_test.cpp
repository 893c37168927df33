#include "files/checkpoint.h"

#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

/// A folder of safetensors files with float32 tensors of one element each.
class Folder : public TemporaryFolder {
 public:
  void save(const std::string& name, const std::vector<std::pair<std::string, float>>& tensors) const {
    AtomicFile out = AtomicFile::open(*this / name);
    std::vector<NamedArray> arrays;
    for (const auto& [tensor, value] : tensors) arrays.push_back({tensor, {1}, std::span(&value, 1)});
    write_safetensors(out, std::move(arrays));
  }
  std::string refusal(const std::string& name = "") const {
    return message_of<InputError>([&] { Checkpoint checkpoint(name.empty() ? path() : *this / name); });
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const std::string& file : checkpoint_files(path()))
      names.push_back(std::filesystem::path(file).filename().string());
    return names;
  }
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a checkpoint is one file, the files of an index or those of a directory, with one hash", "[files]") {
  const Folder one, indexed, numbered;
  one.save("w.safetensors", {{"a", 1}, {"b", 2}, {"c", 3}});
  // The index is wrong about c, and about a tensor that is nowhere: the headers say what is where.
  indexed.save("x.safetensors", {{"c", 3}, {"a", 1}});
  indexed.save("y.safetensors", {{"b", 2}});
  indexed.file(
      "model.safetensors.index.json",
      R"({"weight_map": {"a": "x.safetensors", "b": "y.safetensors", "c": "y.safetensors", "d": "x.safetensors"}})");
  numbered.save("model-00002-of-00002.safetensors", {{"a", 1}});
  numbered.save("model-00001-of-00002.safetensors", {{"c", 3}, {"b", 2}});
  numbered.save("consolidated.safetensors", {{"a", 1}});

  const Checkpoint file(one / "w.safetensors");
  REQUIRE(file.tensors().size() == 3);
  CHECK(file.find("b")->elements() == 1);
  CHECK(file.find("d") == nullptr);
  for (const std::string& path :
       {one.path(), indexed.path(), indexed / "model.safetensors.index.json", numbered.path()}) {
    CAPTURE(path);
    const Checkpoint checkpoint(path);
    CHECK(checkpoint.path() == path);
    CHECK(checkpoint.sha256() == file.sha256());
    CHECK(checkpoint.tensors().front()->name == "a");
  }
  CHECK(indexed.files() == Names{"x.safetensors", "y.safetensors"});
  CHECK(numbered.files() == Names{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"});
}

TEST_CASE("other values give another hash", "[files]") {
  const Folder folder;
  folder.save("a.safetensors", {{"a", 1}});
  folder.save("b.safetensors", {{"a", 2}});
  CHECK(Checkpoint(folder / "a.safetensors").sha256() != Checkpoint(folder / "b.safetensors").sha256());
}

TEST_CASE("model.safetensors stands for its directory, whatever lies beside it", "[files]") {
  const Folder folder;
  folder.save("model.safetensors", {{"a", 1}});
  folder.save("adapter.safetensors", {{"a", 1}});
  CHECK(folder.files() == Names{"model.safetensors"});
}

TEST_CASE("files without a number belong together if no tensor is in two of them", "[files]") {
  const Folder folder;
  folder.save("shard_0.safetensors", {{"a", 1}});
  folder.save("shard_1.safetensors", {{"b", 2}});
  CHECK(Checkpoint(folder.path()).tensors().size() == 2);
  folder.save("step9.safetensors", {{"b", 2}});
  const std::string message = folder.refusal();
  CHECK(contains(message, "\"b\" in shard_1.safetensors and step9.safetensors"));
  CHECK(contains(message, "name one"));
}

TEST_CASE("absent files of an index or of a numbered set are named", "[files]") {
  const Folder indexed, numbered;
  indexed.save("x.safetensors", {{"a", 1}});
  indexed.file("model.safetensors.index.json",
               R"({"weight_map": {"a": "x.safetensors", "b": "gone.safetensors", "c": "link.safetensors"}})");
  std::filesystem::create_symlink("nowhere", indexed / "link.safetensors");
  CHECK(contains(indexed.refusal(), "gone.safetensors, link.safetensors"));
  numbered.save("model-00001-of-00003.safetensors", {{"a", 1}});
  numbered.save("model-00003-of-00003.safetensors", {{"b", 1}});
  CHECK(contains(numbered.refusal(), "missing: model-00002-of-00003.safetensors"));
}

TEST_CASE("sets that count from zero are complete", "[files]") {
  const Folder folder;
  folder.save("m-0-of-2.safetensors", {{"a", 1}});
  folder.save("m-1-of-2.safetensors", {{"b", 1}});
  CHECK(folder.files().size() == 2);
}

TEST_CASE("a directory that could mean two checkpoints is refused", "[files]") {
  const Folder stale, sets;
  stale.save("model.safetensors", {{"a", 1}});
  stale.save("x.safetensors", {{"a", 1}});
  stale.file("model.safetensors.index.json", R"({"weight_map": {"a": "x.safetensors"}})");
  CHECK(contains(stale.refusal(), "holds both"));
  sets.save("m-1-of-1.safetensors", {{"a", 1}});
  sets.save("n-1-of-1.safetensors", {{"a", 1}});
  CHECK(contains(sets.refusal(), "several sets"));
}

TEST_CASE("a path that holds no checkpoint is refused with its reason", "[files]") {
  const Folder folder;
  CHECK(contains(folder.refusal(), "no .safetensors file"));
  folder.file("pytorch_model.bin", "x");
  CHECK(contains(folder.refusal(), "converted"));
  CHECK(contains(folder.refusal("none.safetensors"), "cannot be read"));
  for (const auto& [text, reason] :
       std::vector<std::pair<std::string, std::string>>{{"not json", "no JSON object"},
                                                        {"{}", "no `weight_map`"},
                                                        {R"({"weight_map": {"a": 1}})", "\"a\" names no file"},
                                                        {R"({"weight_map": {"a": "../x.safetensors"}})", "leads out"},
                                                        {R"({"weight_map": {"a": "/x.safetensors"}})", "leads out"}}) {
    CAPTURE(text);
    folder.file("model.safetensors.index.json", text);
    CHECK(contains(folder.refusal(), reason));
    CHECK(contains(folder.refusal("model.safetensors.index.json"), reason));
  }
}

TEST_CASE("a file that becomes shorter while it is read is refused, not read beyond its end", "[files]") {
  const Folder folder;
  folder.save("w.safetensors", {{"a", 1}, {"b", 2}});
  const Checkpoint checkpoint(folder / "w.safetensors");
  REQUIRE(truncate((folder / "w.safetensors").c_str(), 40) == 0);
  CHECK(contains(message_of<InputError>([&] { checkpoint.sha256(); }), "shorter"));
}

TEST_CASE("the configuration of a checkpoint lies in its directory or beside its file", "[files]") {
  const Folder folder;
  CHECK_FALSE(config_beside(folder.path()).has_value());
  folder.file("config.json", "{}");
  CHECK(config_beside(folder.path()) == std::optional(folder / "config.json"));
  CHECK(config_beside(folder / "w.safetensors") == std::optional(folder / "config.json"));
}
