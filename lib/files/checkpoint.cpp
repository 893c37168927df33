#include "files/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"

namespace sinkscope {
namespace {

constexpr std::size_t kListed = 8;  // names in a message

std::string file_name(const TensorView& tensor) {
  return std::filesystem::path(tensor.file->path()).filename().string();
}

bool by_name(const TensorView* tensor, std::string_view name) { return tensor->name < name; }

}  // namespace

Checkpoint::Checkpoint(const std::string& path) : path_(path) {
  for (const std::string& file : checkpoint_files(path)) files_.emplace_back(file);
  for (const SafetensorsFile& file : files_)
    for (const TensorView& tensor : file.tensors()) tensors_.push_back(&tensor);
  std::stable_sort(tensors_.begin(), tensors_.end(),
                   [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  std::string twice;
  std::size_t count = 0;
  for (std::size_t i = 1; i < tensors_.size(); ++i) {
    if (tensors_[i]->name != tensors_[i - 1]->name) continue;
    if (++count <= kListed)
      twice += fmt::format("\n  {} in {} and {}", in_quotes(tensors_[i]->name), file_name(*tensors_[i - 1]),
                           file_name(*tensors_[i]));
  }
  if (count > kListed) twice += fmt::format("\n  ... and {} more", count - kListed);
  if (count > 0)
    throw InputError(
        fmt::format("{}: two files hold the same tensors. If they are checkpoints of their own, name "
                    "one of them.{}",
                    path, twice));
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), name, by_name);
  return at != tensors_.end() && (*at)->name == name ? *at : nullptr;
}

}  // namespace sinkscope
