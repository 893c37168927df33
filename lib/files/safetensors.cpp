#include "files/safetensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/sha256.h"

namespace sinkscope {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;  // bytes read and hashed at a time

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  tensors_ = read_safetensors_header(path, file_.bytes(), metadata_);
  for (TensorView& tensor : tensors_) {
    tensor.file = &file_.file();
    tensor.offset = static_cast<std::size_t>(tensor.bytes.data() - file_.bytes().data());
  }
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto at =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const TensorView& tensor, std::string_view wanted) { return tensor.name < wanted; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

const TensorView& SafetensorsFile::known(const TensorView& tensor) const {
  if (!bits_of(tensor.dtype))
    throw InputError(fmt::format("{}: tensor {}: dtype {} is not supported", path(), in_quotes(tensor.name),
                                 in_quotes(tensor.dtype)));
  return tensor;
}

std::string weights_sha256(std::vector<const TensorView*> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorView* a, const TensorView* b) {
    return std::tie(a->name, a->dtype, a->shape) < std::tie(b->name, b->dtype, b->shape);
  });
  Sha256 hash;
  std::vector<std::byte> piece(kPiece);
  for (const TensorView* tensor : tensors) {
    hash.update_int64(std::ssize(tensor->name)).update(tensor->name);
    hash.update_int64(std::ssize(tensor->dtype)).update(tensor->dtype);
    hash.update_int64(std::ssize(tensor->shape));
    for (const std::int64_t dimension : tensor->shape) hash.update_int64(dimension);
    hash.update_int64(std::ssize(tensor->bytes));
    for (std::size_t from = 0; from < tensor->bytes.size(); from += kPiece) {
      const std::span<std::byte> part(piece.data(), std::min(kPiece, tensor->bytes.size() - from));
      tensor->read(from, part);
      hash.update(part);
    }
  }
  return hash.hex();
}

}  // namespace sinkscope
