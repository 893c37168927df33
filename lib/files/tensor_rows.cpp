#include "files/tensor_rows.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/sha256.h"
#include "files/ending.h"
#include "files/npy.h"
#include "files/safetensors.h"

namespace sinkscope {
namespace {

/// By the names that both formats use.
std::optional<std::string> float_name(const std::string& type) {
  static const std::map<std::string, std::string> names = {{"f4", "float32"},   {"f2", "float16"},  {"f8", "float64"},
                                                           {"F32", "float32"},  {"F16", "float16"}, {"F64", "float64"},
                                                           {"BF16", "bfloat16"}};
  const auto found = names.find(type);
  return found == names.end() ? std::nullopt : std::optional(found->second);
}

TensorRows rows_of(const std::string& what, const std::string& type, const std::vector<std::int64_t>& shape,
                   std::span<const std::byte> bytes) {
  const auto dtype = float_name(type);
  if (!dtype)
    throw InputError(
        fmt::format("{}: holds elements of type {}; float32, float16, bfloat16 or float64 is needed. "
                    "Token ids are given with --tokens.",
                    what, type));
  if (shape.size() < 2 || std::any_of(shape.begin(), shape.end(), [](std::int64_t n) { return n < 1; }))
    throw InputError(fmt::format("{}: has shape {}; [N, ...] is needed, N rows that are not empty{}", what, shape,
                                 shape.size() == 1 ? " (a single row: save x[None])" : ""));
  TensorRows rows;
  rows.dtype = *dtype;
  rows.count = shape.front();
  rows.shape.assign(shape.begin() + 1, shape.end());
  rows.bytes = bytes;
  return rows;
}

TensorRows of_safetensors(const std::string& path) {
  const auto file = std::make_shared<const SafetensorsFile>(path);
  std::vector<const TensorView*> candidates;
  std::vector<std::string> names;
  for (const TensorView& tensor : file->tensors()) {
    if (!float_name(tensor.dtype)) continue;
    candidates.push_back(&tensor);
    names.push_back(tensor.name);
  }
  if (candidates.size() != 1)
    throw InputError(fmt::format("{}: holds {} floating-point tensors{}; exactly one, [N, ...], is needed", path,
                                 names.size(), names.empty() ? "" : fmt::format(" ({})", fmt::join(names, ", "))));
  const TensorView& tensor = *candidates.front();
  TensorRows rows = rows_of(path + ": " + tensor.name, tensor.dtype, tensor.shape, tensor.bytes);
  rows.file = file;
  return rows;
}

}  // namespace

TensorRows read_tensor_rows(const std::string& path) {
  const std::string ending = ending_of(path);
  TensorRows rows;
  if (ending == ".npy") {
    const auto file = std::make_shared<const NpyFile>(path);
    rows = rows_of(path, file->descr, file->shape, file->bytes);
    rows.file = file;
  } else if (ending == ".safetensors") {
    rows = of_safetensors(path);
  } else {
    throw UsageError(
        fmt::format("{}: --tensor takes a .npy or .safetensors file of pixels or embeddings, [N, ...]", path));
  }
  rows.path = path;
  rows.file_sha256 = sha256_of_file(path);
  return rows;
}

}  // namespace sinkscope
