#pragma once
// Rows of numbers for models that take no ids (pixels, embeddings): a .npy or .safetensors file, memory-mapped.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sinkscope {

struct TensorRows {
  std::string path, file_sha256;
  std::string dtype;                 ///< float32, float16, bfloat16 or float64
  std::int64_t count = 0;            ///< N >= 1
  std::vector<std::int64_t> shape;   ///< of one row, each >= 1; [N, ...] without N
  std::span<const std::byte> bytes;  ///< row-major, little endian, count rows; not necessarily aligned
  std::shared_ptr<const void> file;  ///< what `bytes` point into

  std::size_t row_bytes() const { return bytes.size() / static_cast<std::size_t>(count); }
  std::span<const std::byte> row(std::size_t i) const { return bytes.subspan(i * row_bytes(), row_bytes()); }
};

/// Reads a .npy array or the one floating-point tensor of a .safetensors file. Throws InputError for a damaged file,
/// other dtypes, several candidates, no rows, or rank 1; UsageError for another kind of file.
TensorRows read_tensor_rows(const std::string& path);

}  // namespace sinkscope
