#pragma once
// Buffers that a model computes itself: a checkpoint's tensor of the same name does not replace them.

#include <ATen/core/Tensor.h>

#include <optional>

#include "files/legacy_tensors.h"

namespace sinkscope {

/// Whether a checkpoint's tensor has the values of the model's buffer `own`: integers alike, floats within a few units
/// of the coarser dtype. Tables and masks, which `kind` tells, are compared as far as both reach. Throws InputError if
/// the file has become shorter.
bool agrees_with_own(const TensorView& tensor, const std::optional<LegacyTensor>& kind, const at::Tensor& own);

}  // namespace sinkscope
