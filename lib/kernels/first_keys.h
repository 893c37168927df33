#pragma once
// Attention of every query to the first few keys: O(T K0 D) given the log-sum-exp, without the T x T matrix.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "kernels/attention_call.h"

namespace sinkscope {

/// What is reduced; a member left at its default is not computed and its result stays undefined.
struct FirstKeysRequest {
  std::int64_t keys = 1;               ///< K0: key_sum has min(K0, K) keys
  std::int64_t tail_rows = 0;          ///< last queries in tail_sum, at most Q are there
  std::int64_t after_first_k = 0;      ///< k of after_first_k_sum
  std::optional<at::Tensor> selected;  ///< [B, Q] bool: rows in selected_sum
};

/// All float64, on the device of the call. B sequences, H query heads. A sum over no rows is 0.
struct FirstKeysSums {
  at::Tensor key_sum;            ///< [B, H, min(keys, K)]: sum over queries of A[i, j]
  at::Tensor first_query;        ///< [B, H]: A[0, 0]
  at::Tensor last_query;         ///< [B, H]: A[Q-1, 0]
  at::Tensor tail_sum;           ///< [B, H]: sum over the last min(tail_rows, Q) queries of A[i, 0]
  at::Tensor after_first_k_sum;  ///< [B, H]: sum over queries i >= k of the sum over keys j < k of A[i, j]
  at::Tensor selected_sum;       ///< [B, H]: sum of A[i, 0] over the selected rows
  at::Tensor
      learned_sink_sum;  ///< [B, H]: sum over queries of the learned sink's probability; only with call.sink_logit
  at::Tensor
      renormalised_sum;  ///< [B, H]: sum of A[i, 0] / (1 - that probability), rows that see no key left out; likewise
};

/// [B, H, rows, min(count, K)] float32 (float64 for float64): A[i, j] of queries [row, row + rows) (rows < 0: to the
/// end) and keys [0, count). Masks of every kind are understood. A fully masked row gives 0. Throws InputError as
/// check_call does.
at::Tensor first_key_probabilities(const AttentionCall& call, std::int64_t count, std::int64_t row = 0,
                                   std::int64_t rows = -1);

/// The reductions in `request`, over blocks of rows, so nothing of size [B, H, Q, K0] is kept for long sequences. On
/// the CPU without a mask tensor one fused pass over the queries. Throws InputError as check_call does, or when
/// `selected` is not [B, Q] bool.
FirstKeysSums first_keys_sums(const AttentionCall& call, const FirstKeysRequest& request);

}  // namespace sinkscope
