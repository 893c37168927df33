#include "files/atomic_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/print.h"

namespace sinkscope {
namespace {

UsageError unwritable(const std::string& path, const std::string& reason, const std::string& remedy) {
  return UsageError(fmt::format("{}: cannot be written: {}. {}", path, reason, remedy));
}

/// Creates a file beside `target` that no other process uses, with the permissions that a new file gets here.
std::pair<int, std::string> create_aside(const std::filesystem::path& target) {
  for (int attempt = 0;; ++attempt) {
    const auto name = fmt::format(".{}.{}-{}.tmp", target.filename().string().substr(0, 200), ::getpid(), attempt);
    const std::string aside = (target.parent_path() / name).string();
    const int descriptor = ::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0 || errno != EEXIST || attempt == 1000) return {descriptor, aside};
  }
}

}  // namespace

AtomicFile AtomicFile::open(const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) throw UsageError("an empty path cannot be written; name a file, or - for stdout");
  AtomicFile file(path);
  if (file.is_stdout()) return file;
  std::error_code error;
  fs::path target = fs::is_symlink(path, error) ? fs::canonical(path, error) : fs::path(path);
  if (error || target.empty()) target = path;
  struct stat status {};
  const bool exists = ::stat(target.c_str(), &status) == 0;
  if ((exists && S_ISDIR(status.st_mode)) || path.back() == '/')
    throw unwritable(path, "it is a directory", "Name a file in it.");
  if (exists && !S_ISREG(status.st_mode)) {
    file.descriptor_ = ::open(target.c_str(), O_WRONLY | O_CLOEXEC);
    if (file.descriptor_ < 0) throw unwritable(path, std::strerror(errno), "Name another file.");
    return file;
  }
  if (exists && ::access(target.c_str(), W_OK) != 0)
    throw unwritable(path, std::strerror(errno), "Name another file or change its permissions.");

  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  std::tie(file.descriptor_, file.aside_) = create_aside(folder / target.filename());
  if (file.descriptor_ < 0) {
    const int reason = errno;
    file.aside_.clear();
    if (reason == ENOENT)
      throw unwritable(path, fmt::format("the folder {} does not exist", folder.string()), "Create it first.");
    throw unwritable(path, std::strerror(reason), "Name a file in a folder that you may write to.");
  }
  file.target_ = target.string();
  if (exists && ::fchmod(file.descriptor_, status.st_mode & 07777) != 0) {
    // Not the owner: the new file keeps the default permissions.
  }
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      aside_(std::exchange(other.aside_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (!aside_.empty()) ::unlink(aside_.c_str());
  aside_.clear();
}

void AtomicFile::fail(int error) const {
  const char* kept = aside_.empty() ? "" : " What was there before is untouched.";
  if (error == ENOSPC || error == EDQUOT)
    throw unwritable(path_, "the disk is full", fmt::format("Free some space or name another place.{}", kept));
  throw unwritable(path_, std::strerror(error), fmt::format("Name another place.{}", kept));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::write(std::string_view text) {
  if (is_stdout()) return print(text);
  if (const int error = write_all(descriptor_, text); error != 0) fail(error);
}

void AtomicFile::commit() {
  if (is_stdout()) return;
  // A pipe or a device cannot be synchronised (EINVAL); that is no failure.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail(errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail(errno);
  if (aside_.empty()) return;
  if (std::rename(aside_.c_str(), target_.c_str()) != 0) fail(errno);
  aside_.clear();
  // The rename itself survives a power cut only once the folder is on disk; where that cannot be asked for, the file is
  // there all the same.
  const std::filesystem::path folder = std::filesystem::path(target_).parent_path();
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0) {
    ::fsync(descriptor);
    ::close(descriptor);
  }
}

}  // namespace sinkscope
