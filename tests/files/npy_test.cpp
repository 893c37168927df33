#include "files/npy.h"

#include <cstring>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

/// A .npy file of the given version with that header text.
std::string npy(const std::string& header, const std::string& data, char version = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += version;
  bytes += '\0';
  const std::uint32_t length = static_cast<std::uint32_t>(header.size());
  bytes.append(reinterpret_cast<const char*>(&length), version == 1 ? 2 : 4);
  return bytes + header + data;
}

std::string dict(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

std::string refusal(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x.npy", bytes);
  return message_of<InputError>([&] { NpyFile file(path); });
}

}  // namespace

TEST_CASE("arrays of npy versions 1, 2 and 3 are read", "[files]") {
  const TemporaryFolder folder;
  for (const char version : {'\1', '\2', '\3'}) {
    CAPTURE(static_cast<int>(version));
    const NpyFile file(folder.file("x.npy", npy(dict("<i4", "(2, 1)"), "12345678", version)));
    CHECK(file.descr == "i4");
    CHECK(file.shape == std::vector<std::int64_t>{2, 1});
    CHECK(std::memcmp(file.bytes.data(), "12345678", 8) == 0);
  }
}

TEST_CASE("npy shapes of rank 0 and 1 are read", "[files]") {
  const TemporaryFolder folder;
  CHECK(NpyFile(folder.file("a", npy(dict("|u1", "()"), "x"))).shape.empty());
  CHECK(NpyFile(folder.file("b", npy(dict("<f4", "(1,)"), "1234"))).shape == std::vector<std::int64_t>{1});
}

TEST_CASE("every kind of npy file that cannot be used is refused with its reason", "[files]") {
  CHECK(contains(refusal("[1,2,3]"), "not a .npy file"));
  CHECK(contains(refusal("\x93NUMPY"), "truncated"));
  CHECK(contains(refusal(npy(dict("<i8", "(1, 1)"), "12345678", 9)), "version 9"));
  CHECK(contains(refusal(npy(dict("<i8", "(1, 1)"), "12345678").substr(0, 20)), "truncated"));
  CHECK(contains(refusal(npy(dict("<i8", "(1, 2)"), "12345678")), "needs 16 bytes"));
  CHECK(contains(refusal(npy(dict("<i8", "(1, 1)"), "123456789")), "needs 8 bytes"));
  CHECK(contains(refusal(npy(dict("<i8", "(1, 1)", "True"), "12345678")), "Fortran"));
  CHECK(contains(refusal(npy(dict(">i8", "(1, 1)"), "12345678")), "big endian"));
  CHECK(contains(refusal(npy(dict("|O", "(1, 1)"), "12345678")), "plain array"));
  CHECK(contains(refusal(npy("{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (1,), }", "12345678")),
                 "records"));
  CHECK(contains(refusal(npy(dict("<i8", "(4611686018427387904, 4611686018427387904)"), "")), "too many"));
  CHECK(contains(refusal(npy(dict("<i8", "(-1, 1)"), "")), "damaged"));
  CHECK(contains(refusal(npy("{'descr': '<i8'", "")), "damaged"));
}
