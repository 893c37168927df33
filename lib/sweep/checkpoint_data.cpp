#include "sweep/checkpoint_data.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/sha256.h"
#include "files/checkpoint.h"

namespace sinkscope {
namespace {

std::vector<std::string> files_of(const std::string& path, CheckpointKind kind) {
  return kind == CheckpointKind::model ? std::vector{path} : checkpoint_files(path);
}

}  // namespace

std::vector<FileSignature> signatures_of(const std::string& path, CheckpointKind kind) {
  std::vector<FileSignature> signatures;
  for (const std::string& file : files_of(path, kind)) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0 || ::access(file.c_str(), R_OK) != 0)
      throw InputError(fmt::format("{}: cannot be read: {}", file, std::strerror(errno)));
    if (S_ISDIR(status.st_mode)) throw InputError(fmt::format("{}: is a directory", file));
    signatures.push_back({file, status.st_size, status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
                          static_cast<std::int64_t>(status.st_ino)});
  }
  return signatures;
}

void check_unchanged(const std::string& path, CheckpointKind kind, const HashedCheckpoint& hashed) {
  if (signatures_of(path, kind) == hashed.files) return;
  throw InputError(
      fmt::format("{}: changed while it was read. Run the sweep again when the checkpoint is complete.", path));
}

std::string sha256_of_checkpoint(const std::string& path, CheckpointKind kind) {
  if (kind == CheckpointKind::model) return sha256_of_file(path);
  return Checkpoint(path).sha256();
}

}  // namespace sinkscope
