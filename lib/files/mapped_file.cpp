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
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value;
};

}  // namespace

OpenFile::OpenFile(const std::string& path) : path_(path) {
  Descriptor file(path);
  struct stat status {};
  if (::fstat(file.value, &status) != 0) throw unreadable(path, errno);
  if (S_ISDIR(status.st_mode)) throw unreadable(path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw InputError(fmt::format("{}: not a regular file; save it to disk first", path));
  size_ = static_cast<std::size_t>(status.st_size);
  descriptor_ = std::exchange(file.value, -1);
}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OpenFile::read(std::size_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw unreadable(path_, errno);
    if (got == 0) throw InputError(fmt::format("{}: has become shorter while it was being read", path_));
    offset += static_cast<std::size_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

MappedFile::MappedFile(const std::string& path) : file_(std::make_unique<const OpenFile>(path)), size_(file_->size()) {
  if (size_ == 0) return;  // an empty range cannot be mapped
  void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file_->descriptor(), 0);
  if (address == MAP_FAILED) throw unreadable(path, errno);
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : file_(std::move(other.file_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(file_, other.file_);
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
