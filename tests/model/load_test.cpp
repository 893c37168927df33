// Model and weights files, good and bad.
#include <ATen/ATen.h>

#include <fstream>

#include "base/error.h"
#include "catch.h"
#include "files/safetensors.h"
#include "model/load_model.h"
#include "model/load_weights.h"
#include "models.h"

namespace sinkscope {
namespace {

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes = "")
      : path_((std::filesystem::temp_directory_path() / ("sinkscope_file_" + std::to_string(getpid()) + "_" +
                                                         std::to_string(reinterpret_cast<std::uintptr_t>(this))))
                  .string()) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Writes named float32 tensors.
void save(const std::string& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  AtomicFile file = AtomicFile::open(path);
  std::vector<NamedArray> arrays;
  std::vector<at::Tensor> kept;
  for (const auto& [name, tensor] : tensors) {
    kept.push_back(tensor.to(at::kFloat).contiguous());
    arrays.push_back(
        {name, kept.back().sizes().vec(),
         std::span<const float>(kept.back().const_data_ptr<float>(), static_cast<std::size_t>(kept.back().numel()))});
  }
  write_safetensors(file, arrays);
}

std::vector<std::pair<std::string, at::Tensor>> parameters_of(const torch::jit::Module& module) {
  std::vector<std::pair<std::string, at::Tensor>> all;
  for (const auto& p : module.named_parameters()) all.emplace_back(p.name, p.value);
  return all;
}

TEST_CASE("a model file says what it holds", "[model]") {
  const models::SavedModel saved(
      models::language_model(),
      R"({"format": 1, "vocabulary": 20, "positions": 64, "bos": {"id": 3, "added_by_tokenizer": true}, "samples": [[1, 2]]})");
  const LoadedModel model = load_model(saved.path());
  CHECK(model.dtype == "float32");
  CHECK(model.parameters == 2 * 20 * 8 + 2 * (24 * 8 + 8 * 8));
  CHECK(model.vocabulary() == std::optional<std::int64_t>(20));
  CHECK(model.positions() == std::optional<std::int64_t>(64));
  CHECK(model.sha256.size() == 64);
  CHECK_FALSE(model.external_weights);
}

TEST_CASE("a model file without metadata is fine", "[model]") {
  const models::SavedModel saved(models::language_model());
  const LoadedModel model = load_model(saved.path());
  CHECK(model.metadata.is_null());
  CHECK_FALSE(model.vocabulary().has_value());
}

TEST_CASE("what is not TorchScript is refused, saying what it is", "[model]") {
  CHECK_THROWS_WITH(load_model("nothing/here.pt"), contains("no such file"));
  CHECK_THROWS_WITH(load_model(std::filesystem::temp_directory_path().string()), contains("directory"));
  const TemporaryFile empty, text("hello, this is text"), pickle(std::string("\x80\x02}q\x00.", 6)),
      safetensors(std::string("\x02\0\0\0\0\0\0\0{}", 10));
  CHECK_THROWS_WITH(load_model(empty.path()), contains("empty"));
  CHECK_THROWS_WITH(load_model(text.path()), contains("not a TorchScript archive"));
  CHECK_THROWS_WITH(load_model(pickle.path()), contains("pickled"));
  CHECK_THROWS_WITH(load_model(safetensors.path()), contains("--weights"));
  const models::SavedModel saved(models::language_model());
  const std::string whole = bytes_of(saved.path());
  const TemporaryFile truncated(whole.substr(0, whole.size() / 2));
  CHECK_THROWS_WITH(load_model(truncated.path()), contains("truncated"));
  const models::SavedModel odd(models::language_model(), "[1, 2");
  CHECK_THROWS_WITH(load_model(odd.path()), contains("not valid JSON"));
}

TEST_CASE("weights replace the parameters by name, also behind a prefix", "[model]") {
  const torch::jit::Module other = [] {
    torch::jit::Module m = models::language_model();
    for (const auto& p : m.named_parameters()) p.value.copy_(p.value + 1);
    return m;
  }();
  const models::SavedModel saved(models::language_model());
  for (const char* prefix : {"", "m.", "wrapper.model."}) {
    LoadedModel model = load_model(saved.path());
    auto tensors = parameters_of(other);
    for (auto& [name, tensor] : tensors) name = prefix + name;
    const TemporaryFile file;
    save(file.path(), tensors);
    const LoadedWeights loaded = load_weights(model, {file.path(), {}, {}});
    CHECK(loaded.dtype == "float32");
    CHECK(loaded.casts == 0);
    const auto now = parameters_of(model.module), wanted = parameters_of(other);
    for (std::size_t i = 0; i < now.size(); ++i) CHECK(at::equal(now[i].second, wanted[i].second));
  }
}

TEST_CASE("weights that do not fit are listed and change nothing", "[model]") {
  const models::SavedModel saved(models::language_model());
  LoadedModel model = load_model(saved.path());
  auto tensors = parameters_of(model.module);
  for (auto& [name, tensor] : tensors) tensor = tensor + 1;
  tensors[0].second = at::ones({3, 3});     // embedding: misshapen
  tensors.back().first = "something.else";  // one missing, one unexpected
  const TemporaryFile file;
  save(file.path(), tensors);
  const auto before = parameters_of(load_model(saved.path()).module);
  try {
    load_weights(model, {file.path(), {}, {}});
    FAIL("it fitted");
  } catch (const InputError& error) {
    CHECK_THAT(error.what(), contains("missing"));
    CHECK_THAT(error.what(), contains("something.else"));
    CHECK_THAT(error.what(), contains("[3, 3]"));
  }
  const auto after = parameters_of(model.module);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(at::equal(before[i].second, after[i].second));
}

TEST_CASE("missing and unexpected tensors can be allowed by pattern", "[model]") {
  const models::SavedModel saved(models::language_model());
  LoadedModel model = load_model(saved.path());
  auto tensors = parameters_of(model.module);
  tensors.pop_back();
  tensors.emplace_back("extra.bias", at::ones({2}));
  const TemporaryFile file;
  save(file.path(), tensors);
  CHECK_THROWS_AS(load_weights(model, {file.path(), {}, {}}), InputError);
  CHECK_NOTHROW(load_weights(model, {file.path(), {"*"}, {"extra.*"}}));
}

}  // namespace
}  // namespace sinkscope
