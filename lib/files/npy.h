#pragma once
// NumPy's .npy files.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "files/mapped_file.h"

namespace sinkscope {

/// An array of a .npy file, memory-mapped. The view stays valid as long as the object.
struct NpyFile {
  /// Reads versions 1 to 3. Throws InputError that names the file: truncated, not .npy, big endian, Fortran order,
  /// objects.
  explicit NpyFile(const std::string& path);

  MappedFile file;
  std::string descr;                 ///< element type as NumPy writes it without the byte order: i4, i8, f4, u1, ...
  std::vector<std::int64_t> shape;   ///< row-major
  std::span<const std::byte> bytes;  ///< little endian, exactly the size of the array
};

}  // namespace sinkscope
