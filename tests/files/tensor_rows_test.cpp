#include "files/tensor_rows.h"

#include <cstring>

#include "base/error.h"
#include "catch.h"
#include "files/safetensors.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

std::string npy(const std::string& descr, const std::string& shape, const std::string& data) {
  const std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
  std::string bytes("\x93NUMPY\1\0", 8);
  const auto length = static_cast<std::uint16_t>(header.size());
  bytes.append(reinterpret_cast<const char*>(&length), 2);
  return bytes + header + data;
}

std::string refusal(const std::string& name, const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder.file(name, bytes);
  return message_of<InputError>([&] { read_tensor_rows(path); });
}

}  // namespace

TEST_CASE("rows of numbers are read from .npy, row by row", "[files]") {
  const TemporaryFolder folder;
  const TensorRows rows = read_tensor_rows(folder.file("x.npy", npy("<f4", "(2, 3, 1)", "abcdefghijklABCDEFGHIJKL")));
  CHECK(rows.dtype == "float32");
  CHECK(rows.count == 2);
  CHECK(rows.shape == std::vector<std::int64_t>{3, 1});
  REQUIRE(rows.row(1).size() == 12);
  CHECK(std::memcmp(rows.row(1).data(), "ABCDEFGHIJKL", 12) == 0);
  CHECK(rows.file_sha256.size() == 64);
}

TEST_CASE("the one floating-point tensor of a .safetensors file is read, whatever its name", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.safetensors";
  const std::vector<float> pixels{1, 2, 3, 4};
  const std::vector<std::int64_t> labels{7, 8};
  AtomicFile file = AtomicFile::open(path);
  write_safetensors(file, {{"labels", {2}, std::span<const std::int64_t>(labels)},
                           {"pixel_values", {2, 2}, std::span<const float>(pixels)}});
  const TensorRows rows = read_tensor_rows(path);
  CHECK(rows.dtype == "float32");
  CHECK(rows.shape == std::vector<std::int64_t>{2});
  float third = 0;
  std::memcpy(&third, rows.row(1).data(), sizeof third);
  CHECK(third == 3);
}

TEST_CASE("what holds no rows of numbers is refused with its reason", "[files]") {
  CHECK(contains(refusal("x.npy", npy("<i8", "(1, 1)", "12345678")), "--tokens"));
  CHECK(contains(refusal("x.npy", npy("<f4", "(1,)", "1234")), "x[None]"));
  CHECK(contains(refusal("x.npy", npy("<f4", "(0, 2)", "")), "[N, ...]"));
  CHECK(contains(refusal("x.npy", npy("<f4", "(2, 2)", "1234")), "needs 16 bytes"));
  const TemporaryFolder folder;
  const std::string path = folder / "two.safetensors";
  const std::vector<float> values{1, 2};
  AtomicFile file = AtomicFile::open(path);
  write_safetensors(file,
                    {{"a", {2, 1}, std::span<const float>(values)}, {"b", {2, 1}, std::span<const float>(values)}});
  CHECK(contains(message_of<InputError>([&] { read_tensor_rows(path); }), "2 floating-point tensors (a, b)"));
  CHECK_THROWS_AS(read_tensor_rows(folder.file("x.pt", "x")), UsageError);
}
