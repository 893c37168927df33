#pragma once
// The statistics of one attention call, for a batch of sequences of equal length.

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/needs.h"
#include "kernels/first_keys.h"
#include "kernels/norms.h"
#include "measure/mask_cache.h"
#include "observe/attention_view.h"

namespace sinkscope {

/// B sequences, H query heads, G KV heads (0 where there are none: marked weights), Q queries, K keys. Tensors that no
/// metric needs are undefined. On the model's device.
struct SiteBatch {
  std::int64_t batch = 0, heads = 0, kv_heads = 0, head_dim = 0, queries = 0, keys = 0;
  MaskKind mask = MaskKind::none;
  std::int64_t mask_width = 0;
  std::vector<HeadMasks> visibility;  ///< one for all sequences, or one each
  at::Tensor is_query;       ///< [1 or B, 1 or H, Q] bool: false for rows that see no key; undefined: all are queries
  bool causal = true;        ///< no query sees a later token
  ExtraKeys extra_keys;      ///< keys that are no tokens, as the mask shows them
  std::int64_t windows = 1;  ///< that the queries of a sequence are cut into
  std::string measured_by;   ///< fused | blocks | materialised | marked
  std::optional<std::string> reason;  ///< why not fused
  double softcap = 0;                 ///< 0: none
  std::string row_sum = "one";        ///< one | with_sink | free
  FirstKeysSums first_keys;           ///< [B, H, ...] float64
  at::Tensor proxy_key_sum;           ///< [B, H, first keys] float64: key_sum of the proxy; where rows are free
  at::Tensor column_sum;              ///< [B, H, K] float32
  at::Tensor entropy_sum;             ///< [B, H] float64
  at::Tensor normalised_entropy_sum;  ///< [B, H] float64
  at::Tensor row_sum_error;           ///< [B, H] float64: largest distance of a row sum from what it should be
  double row_sum_tolerance = 1e-3;    ///< beyond it a head has no value: 1e-3 in float32, 2e-2 in 16 bit
  FirstAndOthers key_norm, value_norm;
  MeanAndLast head_output_norm;
};

/// `non_trigger` [B, T] bool: queries in the non_trigger series; used where T is the number of queries.
/// Throws InputError for shapes that are no attention.
SiteBatch site_statistics(const AttentionView& view, const Needs& needs, const std::optional<at::Tensor>& non_trigger,
                          MaskCache& masks);

/// Keys of which Visibility knows who sees them: key 0 always, its uniform value is part of several metrics.
std::int64_t leading_keys(const Needs& needs);

/// The call as the kernels take it: a mask that is pure visibility has become part of the score function.
AttentionCall attention_call(const AttentionView& view, const RecognisedMask* mask);

}  // namespace sinkscope
