#pragma once
// Attention of an operator that goes from hidden states to output in one step: queries, keys and values computed again.

#include <ATen/core/Tensor.h>

#include <optional>

#include "observe/attention_view.h"

namespace sinkscope {

struct LayerNorm {
  at::Tensor weight, bias;
  double eps = 1e-5;
};

/// Arguments of aten::_native_multi_head_attention, or those of aten::_transformer_encoder_layer_fwd that concern its
/// attention. E: width; all [B, T, E].
struct ProjectedArguments {
  at::Tensor query, key, value;
  std::int64_t heads = 1;
  at::Tensor weight, bias;        ///< [3 E, E], [3 E]: of queries, keys and values
  std::optional<LayerNorm> norm;  ///< that the hidden states pass first
  std::optional<at::Tensor> mask;
  std::int64_t mask_type = -1;  ///< of `mask`, true or not 0: hidden. 0: [Q, K]; 1: [B, K]; 2: [B, H, Q, K]
};

/// Query, key, value, mask and the output of each head. Throws InputError for nested tensors.
AttentionView projected_view(const ProjectedArguments& arguments);

}  // namespace sinkscope
