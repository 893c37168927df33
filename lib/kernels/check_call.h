#pragma once
// The one place where an attention call is checked; every kernel relies on it.

#include <cstdint>

#include "kernels/attention_call.h"

namespace sinkscope {

struct CallSizes {
  std::int64_t batch, heads, kv_heads, queries, keys, dim;
  std::int64_t group() const { return heads / kv_heads; }  ///< query heads of one KV head
};

/// Sizes of a valid call. Throws InputError, naming the sizes, for ranks other than 4, unequal dtypes, devices, batch
/// or head dims, H not a multiple of G (so also for more KV heads than query heads), zero heads, or an lse, padding or
/// sink whose shape does not fit. No sequences, no queries and no keys are valid. `needs_lse`: whether `call.lse` must
/// be there.
CallSizes check_call(const AttentionCall& call, bool needs_lse = true);

/// float64 for float64, otherwise float32.
at::ScalarType statistics_dtype(const AttentionCall& call);

/// A FullPass of a call in which nothing is visible.
FullPass empty_pass(const AttentionCall& call, const CallSizes& sizes);

}  // namespace sinkscope
