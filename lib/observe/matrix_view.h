#pragma once
// Materialised attention as the graph hands it over, and what is observed of it.

#include <ATen/core/Tensor.h>

#include <optional>

#include "observe/attention_view.h"

namespace sinkscope {

struct MatrixArguments {
  const at::Tensor &output, &weights, &scores, &value;
  at::TensorList keys;                         ///< parts of a key along the head dim, one or more
  const std::optional<at::Tensor>& with_sink;  ///< the softmax with a learned sink's column
  /// From the end, rows then columns: output (queries, head dim), weights and scores (queries, keys), value and every
  /// part of the keys (keys, head dim).
  at::IntArrayRef dims;
  /// Empty, or what else may be the dim of the queries in output, weights and scores.
  at::IntArrayRef other_rows;
  std::int64_t softmax_dim = -1;  ///< as the model wrote it
  std::int64_t length = 0;        ///< of the sequences; 0: unknown
};

/// The tensors with their matrix dims last; leading dims are still the model's own (head_layout.h). Of two dims that
/// may be that of the queries, the one as long as the sequences is taken.
/// Throws InputError if the softmax turns out not to run over the keys, or if both dims are as long.
AttentionView matrix_view(const MatrixArguments& arguments);

}  // namespace sinkscope
