#pragma once
// Tensors of a checkpoint as tensors of torch.

#include <ATen/core/Tensor.h>

#include <memory>

#include "files/checkpoint.h"
#include "files/weight_map.h"

namespace sinkscope {

/// The tensor that a recipe makes, in `type`, contiguous, in memory of its own: read from the files, not through their
/// mapping. The tensors must be there and fit (match_weights). Throws InputError if a file has become shorter.
at::Tensor assemble(const Recipe& recipe, const Checkpoint& checkpoint, at::ScalarType type);

/// The same; but a tensor that lies in its file as it is wanted is not copied: it is the mapped memory itself, which
/// keeps the checkpoint open. Writing into it changes a private copy of the page, never the file.
at::Tensor assemble_mapped(const Recipe& recipe, const std::shared_ptr<const Checkpoint>& checkpoint,
                           at::ScalarType type);

/// Bytes of the result in `type`.
std::int64_t bytes_of(const Recipe& recipe, const Checkpoint& checkpoint, at::ScalarType type);

}  // namespace sinkscope
