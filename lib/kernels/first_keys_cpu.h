#pragma once
// The CPU path of first_keys_sums: one pass over the queries, all reductions at once. ATen needs a dozen small
// operators for the same, which for many short sequences take longer than the model.

#include <cstdint>

#include "kernels/check_call.h"
#include "kernels/first_keys.h"

namespace sinkscope {

/// float32, bfloat16 or float16 on the CPU with a contiguous last dim and no mask tensor.
bool first_keys_cpu_supports(const AttentionCall& call);

/// Fills the tensors of `sums` that are defined (zeros before). `count` keys are enough for all of them. Sums are in
/// float64, in an order that does not depend on the number of threads.
void first_keys_sums_cpu(const AttentionCall& call, const FirstKeysRequest& request, const CallSizes& sizes,
                         std::int64_t count, const FirstKeysSums& sums);

}  // namespace sinkscope
