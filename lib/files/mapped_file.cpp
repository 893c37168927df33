#include "files/mapped_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace sinkscope {
namespace {

InputError unreadable(const std::string& path, int error) {
  const char* reason = error == EISDIR ? "it is a directory; name a file" : std::strerror(error);
  return InputError(fmt::format("{}: cannot be read: {}", path == "-" ? "stdin" : path, reason));
}

/// Closes on scope exit, whatever is thrown.
struct Descriptor {
  explicit Descriptor(const std::string& path)
      : value(path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (value < 0) throw unreadable(path, errno);
  }
  ~Descriptor() { ::close(value); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const Descriptor file(path);
  struct stat status {};
  if (::fstat(file.value, &status) != 0) throw unreadable(path, errno);
  if (S_ISDIR(status.st_mode)) throw unreadable(path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw InputError(fmt::format("{}: not a regular file; save it to disk first", path));
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;  // an empty range cannot be mapped
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (address == MAP_FAILED) throw unreadable(path, errno);
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string read_text(const std::string& path) {
  const Descriptor file(path);
  std::string text;
  std::string piece(std::size_t{1} << 16, '\0');
  for (;;) {
    const ssize_t got = ::read(file.value, piece.data(), piece.size());
    if (got == 0) return text;
    if (got > 0) {
      text.append(piece, 0, static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      throw unreadable(path, errno);
    }
  }
}

}  // namespace sinkscope
