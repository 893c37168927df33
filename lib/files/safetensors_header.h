#pragma once
// The header of a safetensors file. Everything in it is checked before anything is used: the file may come from
// anywhere.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "files/mapped_file.h"

namespace sinkscope {

/// One tensor of a file: a view, nothing is copied.
struct TensorView {
  std::string name;
  std::string dtype;                 ///< as the file says: F32, BF16, F16, F64, I64, I32, U8, BOOL, ...; may be unknown
  std::vector<std::int64_t> shape;   ///< each >= 0; empty for a scalar
  std::span<const std::byte> bytes;  ///< row-major, little endian; not necessarily aligned
  const OpenFile* file = nullptr;    ///< whose `offset` the bytes begin at; null for a file that is in memory
  std::size_t offset = 0;

  /// Product of the shape; it fits (checked by the reader).
  std::int64_t elements() const;
  /// Reads `out.size()` bytes, beginning at the byte `from` of the tensor. Throws InputError if the file has become
  /// shorter, std::out_of_range for a range outside the tensor.
  void read(std::size_t from, std::span<std::byte> out) const;
};

/// Size of one element in bits; empty for a dtype that this program does not know.
std::optional<std::int64_t> bits_of(std::string_view dtype);

/// Text from a file inside a message: quoted, so that odd characters can do no harm.
std::string in_quotes(const std::string& text);

/// The tensors of the file whose content is `bytes`, in alphabetical order, without `file` and `offset`; entries of
/// `__metadata__` are added to `metadata`. Checks lengths, JSON, unique names, shapes that fit their bytes, and ranges
/// inside the file that neither overlap nor leave holes; throws InputError that names `path` and the tensor.
std::vector<TensorView> read_safetensors_header(const std::string& path, std::span<const std::byte> bytes,
                                                std::map<std::string, std::string>& metadata);

}  // namespace sinkscope
