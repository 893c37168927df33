#pragma once
// What must hold for any bytes that claim to be a safetensors file.

#include <cstddef>
#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "files/safetensors_header.h"

namespace sinkscope {

/// Reads the header of `bytes`; aborts if what comes back is not what the reader promises. Returns whether it was
/// accepted. Any exception but InputError is a bug and goes through.
inline bool check_safetensors_header(std::span<const std::byte> bytes) {
  std::map<std::string, std::string> metadata;
  std::vector<TensorView> tensors;
  try {
    tensors = read_safetensors_header("fuzz", bytes, metadata);
  } catch (const InputError&) {
    return false;
  }
  const auto require = [](bool held) {
    if (!held) std::abort();
  };
  std::size_t held = 0;
  for (const TensorView& tensor : tensors) {
    require(tensor.elements() >= 0);
    require(tensor.bytes.data() >= bytes.data() &&
            tensor.bytes.data() + tensor.bytes.size() <= bytes.data() + bytes.size());
    if (const auto bits = bits_of(tensor.dtype))
      require(static_cast<std::size_t>(tensor.elements() * *bits) == 8 * tensor.bytes.size());
    held += tensor.bytes.size();
    std::vector<std::byte> copy(tensor.bytes.size());
    tensor.read(0, copy);  // under a sanitizer, every byte is there
  }
  require(held < bytes.size());
  for (std::size_t i = 1; i < tensors.size(); ++i) require(tensors[i - 1].name < tensors[i].name);
  return true;
}

}  // namespace sinkscope
