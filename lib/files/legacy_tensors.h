#pragma once
// Tensors that checkpoints carry although no model has them as parameters any more.

#include <optional>
#include <string>

#include "files/safetensors_header.h"

namespace sinkscope {

/// What an extra tensor of a checkpoint is, if its name and rank say that it is one that every present model computes
/// itself: "rotary frequencies", "causal mask", ...; empty for any other tensor.
std::optional<std::string> legacy_tensor(const TensorView& tensor);

}  // namespace sinkscope
