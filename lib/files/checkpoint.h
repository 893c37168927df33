#pragma once
// A checkpoint: one or more safetensors files that hold the tensors of one model.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "files/safetensors.h"

namespace sinkscope {

/// The safetensors files that `path` stands for, in alphabetical order; nothing but directory and index is read.
/// - a file: itself;
/// - `*.index.json`: the files that its `weight_map` names, beside it. Which tensor lies where is not taken from it:
///   the headers say that;
/// - a directory: `model.safetensors`, or the files of `model.safetensors.index.json`, or the one set of files
///   `NAME-00001-of-00003.safetensors`, which must be complete; other files are then ignored. Else all its
///   `.safetensors` files.
/// Throws InputError for files that an index or a set names and that are absent, for an unreadable index, and for a
/// directory that holds no safetensors file or both a `model.safetensors` and an index of other files.
std::vector<std::string> checkpoint_files(const std::string& path);

/// `config.json` of a directory, or beside a file; empty if there is none.
std::optional<std::string> config_beside(const std::string& path);

/// The tensors of all files of a checkpoint, memory-mapped. Views stay valid as long as the object, also when it is
/// moved.
class Checkpoint {
 public:
  /// Opens checkpoint_files(path) and checks their headers. Throws as checkpoint_files and SafetensorsFile do, and
  /// InputError that names the tensors which two files hold.
  explicit Checkpoint(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// In alphabetical order of their names.
  const std::vector<const TensorView*>& tensors() const { return tensors_; }
  /// Null if there is no tensor of that name.
  const TensorView* find(std::string_view name) const;
  /// weights_sha256 of all tensors: the same however the checkpoint is cut into files. Reads everything.
  std::string sha256() const { return weights_sha256(tensors_); }

 private:
  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::vector<const TensorView*> tensors_;
};

}  // namespace sinkscope
