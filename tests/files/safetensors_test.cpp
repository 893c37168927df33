#include "files/safetensors.h"

#include <cstring>
#include <random>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

std::string with_header(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

/// The message with which a file of this header and data is refused; "" if it is not.
std::string refusal(const std::string& header, const std::string& data) {
  const TemporaryFolder folder;
  const std::string path = folder.file("w.safetensors", with_header(header, data));
  const std::string message = message_of<InputError>([&] { SafetensorsFile file(path); });
  if (!message.empty()) CHECK(contains(message, path));
  return message;
}

const std::string kTwo =
    R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";

}  // namespace

TEST_CASE("tensors of a safetensors file are found with shape, dtype and bytes", "[files]") {
  const TemporaryFolder folder;
  SafetensorsFile opened(folder.file("w.safetensors", with_header(kTwo, "12345678z")));
  const SafetensorsFile file = std::move(opened);
  REQUIRE(file.tensors().size() == 2);
  const TensorView* a = file.find("a");
  REQUIRE(a);
  CHECK(a->dtype == "I32");
  CHECK(a->shape == std::vector<std::int64_t>{2});
  CHECK(a->bytes.size() == 8);
  CHECK(static_cast<char>(file.find("b")->bytes[0]) == 'z');
  CHECK(file.find("b")->elements() == 1);
  CHECK(file.find("c") == nullptr);
}

TEST_CASE("metadata of a safetensors file is read", "[files]") {
  const TemporaryFolder folder;
  const SafetensorsFile file(folder.file("w", with_header(R"({"__metadata__":{"format":"pt"}})", "")));
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.tensors().empty());
}

TEST_CASE("every kind of damage to a safetensors header is refused with its reason", "[files]") {
  const auto one = [](const std::string& entry) { return "{\"a\":{" + entry + "}}"; };
  CHECK(contains(refusal("{}x", ""), "not JSON"));
  CHECK(contains(refusal("[]", ""), "not a JSON object"));
  CHECK(contains(refusal("", ""), "not a JSON object"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[1])"), "x"), "lacks"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])"), "x"), "dimension -1"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[1.5],"data_offsets":[0,1])"), "x"), "dimension 1.5"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])"), "x"), "before they begin"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[2],"data_offsets":[0,2])"), "x"), "outside the file"));
  CHECK(contains(refusal(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,1])"), "x"), "does not fill"));
  CHECK(
      contains(refusal(one(R"("dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,1])"), "x"), "too many"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[1],"data_offsets":[0,99999999999999999999])"), "x"), "offset"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])"), "xy"), "belong to no tensor"));
  CHECK(contains(refusal(one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1])"), "xy"), "belong to no tensor"));
  CHECK(contains(
      refusal(
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
          "xyz"),
      "overlap"));
  CHECK(contains(
      refusal(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
          "x"),
      "twice"));
}

TEST_CASE("the message about a damaged tensor names it", "[files]") {
  CHECK(contains(refusal(R"({"model.w":{"dtype":"F32","shape":[1],"data_offsets":[0,1]}})", "x"), "\"model.w\""));
}

TEST_CASE("truncated files and files of another kind are told apart", "[files]") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& bytes) {
    return message_of<InputError>([&] { SafetensorsFile file(folder.file("w", bytes)); });
  };
  CHECK(contains(message(""), "too few"));
  CHECK(contains(message("1234"), "too few"));
  CHECK(contains(message(with_header(kTwo, "12345678z").substr(0, 40)), "truncated"));
  CHECK(contains(message(with_header(kTwo, "1234")), "outside the file"));
  CHECK(contains(message("PK\3\4 this is a zip archive"), "another kind"));
  CHECK(contains(message_of<InputError>([&] { SafetensorsFile file(folder.path()); }), "directory"));
}

TEST_CASE("a tensor of an unknown dtype is refused by name, only when it is used", "[files]") {
  const TemporaryFolder folder;
  const SafetensorsFile file(
      folder.file("w", with_header(R"({"q":{"dtype":"NF4","shape":[5],"data_offsets":[0,3]}})", "xyz")));
  const std::string message = message_of<InputError>([&] { file.known(*file.find("q")); });
  CHECK(contains(message, "\"q\""));
  CHECK(contains(message, "NF4"));
}

TEST_CASE("four-bit tensors must fill whole bytes", "[files]") {
  CHECK(refusal(R"({"q":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", "xy").empty());
  CHECK(contains(refusal(R"({"q":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "xy"), "does not fill"));
}

TEST_CASE("random corruption of a safetensors file never crashes nor reads outside the file", "[files]") {
  const TemporaryFolder folder;
  const std::string good = with_header(kTwo, "12345678z");
  std::mt19937 random(20250101);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    std::string bytes = good;
    for (auto changes = 1 + random() % 4; changes > 0; --changes)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    const std::string path = folder.file("w", bytes);
    try {
      const SafetensorsFile file(path);
      std::vector<const TensorView*> all;
      for (const TensorView& tensor : file.tensors()) all.push_back(&tensor);
      CHECK(weights_sha256(all).size() == 64);  // touches every byte
    } catch (const InputError&) {
      ++refused;
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("what is written reads back, aligned, with its metadata", "[files]") {
  const TemporaryFolder folder;
  const std::vector<float> mass = {0.5f, 0.25f, 0.125f};
  const std::vector<double> norm = {1.5};
  const std::vector<std::int64_t> key = {7, -1};
  AtomicFile out = AtomicFile::open(folder / "a.safetensors");
  write_safetensors(out,
                    {{"mass", {3, 1}, std::span(mass)}, {"norm", {}, std::span(norm)}, {"key", {2}, std::span(key)}},
                    {{"source", "test"}});
  const SafetensorsFile file(folder / "a.safetensors");
  CHECK(file.metadata().at("source") == "test");
  CHECK(file.find("mass")->dtype == "F32");
  CHECK(file.find("mass")->shape == std::vector<std::int64_t>{3, 1});
  CHECK(file.find("norm")->dtype == "F64");
  CHECK(file.find("key")->dtype == "I64");
  CHECK(std::memcmp(file.find("mass")->bytes.data(), mass.data(), 12) == 0);
  CHECK(std::memcmp(file.find("key")->bytes.data(), key.data(), 16) == 0);
  for (const TensorView& tensor : file.tensors())
    CHECK(reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % (tensor.dtype == "F32" ? 4 : 8) == 0);
}

TEST_CASE("an array whose data do not have its shape is a bug, not a file", "[files]") {
  const TemporaryFolder folder;
  const std::vector<float> data(3);
  {
    AtomicFile out = AtomicFile::open(folder / "a");
    CHECK_THROWS_AS(write_safetensors(out, {{"x", {2}, std::span(data)}}), std::logic_error);
  }
  CHECK(folder.files() == 0);
}

TEST_CASE("the weights hash does not depend on how tensors are cut into files", "[files]") {
  const TemporaryFolder folder;
  const std::vector<float> a = {1, 2}, b = {3};
  const auto write = [&](const std::string& name, std::vector<NamedArray> arrays) {
    AtomicFile out = AtomicFile::open(folder / name);
    write_safetensors(out, std::move(arrays));
    return SafetensorsFile(folder / name);
  };
  const auto both = write("ba", {{"b", {1}, std::span(b)}, {"a", {2}, std::span(a)}});
  const auto first = write("a", {{"a", {2}, std::span(a)}}), second = write("b", {{"b", {1}, std::span(b)}});
  const std::string whole = weights_sha256({both.find("b"), both.find("a")});
  CHECK(weights_sha256({first.find("a"), second.find("b")}) == whole);

  const auto reshaped = write("r", {{"a", {2, 1}, std::span(a)}});
  CHECK(weights_sha256({reshaped.find("a"), second.find("b")}) != whole);
}
