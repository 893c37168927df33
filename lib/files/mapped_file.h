#pragma once
// A file as read-only memory.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace sinkscope {

/// Maps a regular file; the bytes stay valid as long as the object (moving it does not move them). Nothing is read
/// before it is touched.
class MappedFile {
 public:
  /// Throws InputError that names the path: missing, a directory, no permission.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The whole content of a file, pipe or device, or of stdin for `-`. Throws InputError that names it.
std::string read_text(const std::string& path);

}  // namespace sinkscope
