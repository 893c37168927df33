#pragma once
// SHA-256, as hexadecimal text: of models, weights, token files and configurations, so that a report names what it
// measured.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sinkscope {

/// An incremental hash. hex() finishes it; using it afterwards is a bug (std::logic_error).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  /// Eight bytes, little endian on every machine.
  Sha256& update_int64(std::int64_t value);
  /// 64 lowercase hexadecimal digits.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_of(std::string_view bytes);

/// Hash of a file, read in pieces. Throws InputError that names the file if it cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace sinkscope
