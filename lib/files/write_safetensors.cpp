#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "files/safetensors.h"

namespace sinkscope {
namespace {

struct Plain {
  const char* dtype;
  std::size_t width;  ///< bytes an element
  std::span<const std::byte> bytes;
};

template <class T>
constexpr const char* dtype_of() {
  if constexpr (std::is_same_v<T, float>) return "F32";
  if constexpr (std::is_same_v<T, double>) return "F64";
  if constexpr (std::is_same_v<T, std::int64_t>) return "I64";
}

Plain plain(const NamedArray& array) {
  return std::visit(
      []<class T>(std::span<const T> data) {
        return Plain{dtype_of<T>(), sizeof(T), std::as_bytes(data)};
      },
      array.data);
}

}  // namespace

void write_safetensors(AtomicFile& file, std::vector<NamedArray> arrays,
                       const std::map<std::string, std::string>& metadata) {
  std::stable_sort(arrays.begin(), arrays.end(),
                   [](const NamedArray& a, const NamedArray& b) { return plain(a).width > plain(b).width; });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const NamedArray& array : arrays) {
    const Plain data = plain(array);
    std::size_t elements = 1;
    for (const std::int64_t dimension : array.shape) elements *= static_cast<std::size_t>(dimension);
    if (elements * data.width != data.bytes.size())
      throw std::logic_error(array.name + ": shape and data differ in size");
    if (header.contains(array.name)) throw std::logic_error(array.name + ": written twice");
    header[array.name] = {
        {"dtype", data.dtype}, {"shape", array.shape}, {"data_offsets", {offset, offset + data.bytes.size()}}};
    offset += data.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begin at a multiple of 8
  const std::uint64_t length = text.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const NamedArray& array : arrays) file.write(plain(array).bytes);
  file.commit();
}

}  // namespace sinkscope
