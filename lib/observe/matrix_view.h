#pragma once
// Materialised attention as the graph hands it over, and what is observed of it.

#include <ATen/core/Tensor.h>

#include <optional>

#include "observe/attention_view.h"

namespace sinkscope {

struct MatrixArguments {
  const at::Tensor &output, &weights, &scores, &key, &value;
  const std::optional<at::Tensor>& with_sink;  ///< the softmax with a learned sink's column
  /// From the end, rows then columns: output (queries, head dim), weights and scores (queries, keys), key and value
  /// (keys, head dim).
  at::IntArrayRef dims;
  std::int64_t softmax_dim = -1;  ///< as the model wrote it
};

/// The tensors with their matrix dims last; leading dims are still the model's own (head_layout.h).
/// Throws InputError if the softmax turns out not to run over the keys.
AttentionView matrix_view(const MatrixArguments& arguments);

}  // namespace sinkscope
