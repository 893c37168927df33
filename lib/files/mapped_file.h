#pragma once
// A file as read-only memory, and read piece by piece.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sinkscope {

/// A regular file, open for reading. Its size is that at opening.
class OpenFile {
 public:
  /// Throws InputError that names the path: missing, a directory, no permission, no regular file.
  explicit OpenFile(const std::string& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  /// Fills `out` with the bytes from `offset`. What is read this way does not count as memory of the process, as mapped
  /// pages would. Throws InputError if the file has become shorter.
  void read(std::size_t offset, std::span<std::byte> out) const;

  const std::string& path() const { return path_; }
  std::size_t size() const { return size_; }
  int descriptor() const { return descriptor_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  std::size_t size_ = 0;
};

/// Maps a regular file; the bytes stay valid as long as the object (moving it does not move them). Nothing is read
/// before it is touched. The pages are private: whoever writes into them gets a copy, the file never changes.
class MappedFile {
 public:
  /// Throws as OpenFile does.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return file_->path(); }
  /// The same file, to be read; it lives as long as the object and is not moved with it.
  const OpenFile& file() const { return *file_; }

 private:
  std::unique_ptr<const OpenFile> file_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The whole content of a file, pipe or device, or of stdin for `-`. Throws InputError that names it.
std::string read_text(const std::string& path);

}  // namespace sinkscope
