#pragma once
// The safetensors format: 8 bytes of header length (little endian), a JSON header, then the bytes of the tensors.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "files/atomic_file.h"
#include "files/mapped_file.h"
#include "files/safetensors_header.h"

namespace sinkscope {

/// The tensors of one .safetensors file, memory-mapped. Views stay valid as long as the object, also when it is moved.
class SafetensorsFile {
 public:
  /// Reads and checks the header completely: lengths, JSON, unique names, shapes that fit their bytes, ranges inside
  /// the file that neither overlap nor leave holes. Throws InputError that names file and tensor. A tensor of an
  /// unknown dtype is let through (its shape cannot be checked); reading it is refused by name, see known().
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  /// In alphabetical order of their names.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  /// Null if there is no tensor of that name.
  const TensorView* find(std::string_view name) const;
  /// `tensor`, if its dtype is one that this program knows; else throws InputError that names it.
  const TensorView& known(const TensorView& tensor) const;
  /// The header's `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// SHA-256 over the tensors in alphabetical order, so that a checkpoint has the same hash however it is cut into files:
/// for each the length of its name and the name, the length of its dtype and the dtype, its rank and dimensions, the
/// number of its bytes and the bytes; numbers as int64, little endian. Reads the files without mapping them, so that
/// the memory of the process does not grow. Throws InputError if a file has become shorter.
std::string weights_sha256(std::vector<const TensorView*> tensors);

/// An array to write; the span must have as many elements as the shape says (std::logic_error otherwise).
struct NamedArray {
  std::string name;
  std::vector<std::int64_t> shape;
  std::variant<std::span<const float>, std::span<const double>, std::span<const std::int64_t>> data;
};

/// Writes a .safetensors file and commits it. The arrays are written from where they lie; wide ones come first, so that
/// every array is aligned to its element. Throws as AtomicFile does.
void write_safetensors(AtomicFile& file, std::vector<NamedArray> arrays,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace sinkscope
