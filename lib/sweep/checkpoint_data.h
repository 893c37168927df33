#pragma once
// What lies on disk for one checkpoint of a sweep: the only place that knows which files make a checkpoint.

#include <cstdint>
#include <string>
#include <vector>

namespace sinkscope {

/// A file without its content: while these agree, the content is taken to be the same.
struct FileSignature {
  std::string path;
  std::int64_t size = 0, modified_nanoseconds = 0, inode = 0;
  bool operator==(const FileSignature&) const = default;
};

enum class CheckpointKind {
  weights,  ///< safetensors: their hash is that of the tensors, the same for resharded twins
  model     ///< a whole TorchScript file: its hash is that of the file
};

/// Signatures of the files that `path` stands for. Throws InputError where there is none or one cannot be read.
std::vector<FileSignature> signatures_of(const std::string& path, CheckpointKind kind);

/// A checkpoint that was read once.
struct HashedCheckpoint {
  std::vector<FileSignature> files;
  std::string sha256;
};

/// After the checkpoint was measured: throws InputError if its files are not those that were hashed.
void check_unchanged(const std::string& path, CheckpointKind kind, const HashedCheckpoint& hashed);

/// Reads everything: what a report calls model.weights.sha256, or model.sha256. Throws InputError.
std::string sha256_of_checkpoint(const std::string& path, CheckpointKind kind);

}  // namespace sinkscope
