// The fuzz target on mutations of a few seeds, in every run of the tests.
#include <cstring>
#include <random>

#include "catch.h"
#include "fuzz/safetensors_header.h"

using namespace sinkscope;

namespace {

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

const std::vector<std::string> kSeeds = {
    file_of("{}", ""),
    file_of(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})", "12345678"),
    file_of(
        R"({"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0,3],"data_offsets":[2,2]},)"
        R"("c":{"dtype":"F4","shape":[4],"data_offsets":[2,4]},"d":{"dtype":"NF4","shape":[9],"data_offsets":[4,5]}})",
        "12345"),
};
/// Pieces that a parser may stumble over.
const std::vector<std::string> kPieces = {"{",
                                          "}",
                                          "[",
                                          "]",
                                          "\"",
                                          ":",
                                          ",",
                                          "-1",
                                          "1e9",
                                          "18446744073709551615",
                                          "null",
                                          "\\",
                                          "\\ud800",
                                          "\xff",
                                          "\"a\"",
                                          "0.5",
                                          "9223372036854775807",
                                          "{\"a\":",
                                          "[[[[[",
                                          "true"};

std::string mutated(std::string bytes, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
  for (auto changes = 1 + random() % 4; changes > 0; --changes) {
    const std::size_t at = below(bytes.size());
    switch (random() % 6) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes.insert(at, kPieces[below(kPieces.size())]);
        break;
      case 2:
        bytes.erase(at, below(8));
        break;
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(40)));
        break;
      default:
        break;
    }
  }
  // Most files should get past the length, or nothing behind it is tried.
  if (random() % 4 != 0 && bytes.size() >= 8) {
    const auto end = bytes.rfind('}');
    const std::uint64_t length = end == std::string::npos || end < 8 ? 0 : end - 7;
    std::memcpy(bytes.data(), &length, 8);
  }
  return bytes;
}

}  // namespace

TEST_CASE("mutated safetensors headers are refused or read as they promise, never anything else", "[files]") {
  std::mt19937 random(20260101);
  int accepted = 0, refused = 0;
  for (const std::string& seed : kSeeds) CHECK(check_safetensors_header(std::as_bytes(std::span(seed))));
  for (int round = 0; round < 30000; ++round) {
    CAPTURE(round);
    const std::string bytes = mutated(kSeeds[random() % kSeeds.size()], random);
    // A copy of exactly this size, so that a sanitizer sees a read behind its end.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    (check_safetensors_header(std::as_bytes(std::span(exact))) ? accepted : refused)++;
  }
  CHECK(accepted > 100);
  CHECK(refused > 10000);
}
