#pragma once
// Tensors that checkpoints carry although no model has them as parameters any more.

#include <optional>

#include "files/safetensors_header.h"

namespace sinkscope {

enum class LegacyTensor {
  frequencies,  ///< of rotary positions: [d]
  rotary,       ///< sines or cosines of rotary positions: [1, 1, T, d]
  sinusoids,    ///< sines, then cosines, of positions: [T, d]
  mask,         ///< 1 where a query sees a key, never after itself: [1, 1, T, T]
  mask_value,   ///< a large negative number
  positions,    ///< 0, 1, 2, ...: [1, T]
  types,        ///< zeros: [1, T]
  batches,      ///< that a batch norm was trained on
};

/// What an extra tensor of a checkpoint is, if its name, dtype, shape and values say that it is one that every present
/// model computes itself; empty for any other tensor. Throws InputError if the file has become shorter.
std::optional<LegacyTensor> legacy_tensor(const TensorView& tensor);

/// Whether a score of this size hides a key: -1e4, which bfloat16 rounds, -1e9, -inf, which float16 makes of that, ...
bool is_mask_value(double value);

}  // namespace sinkscope
