#pragma once
// What sinkscope_cuda.so exports, found with dlsym by its plain name. Both sides come from one build.

#include "kernels/attention_call.h"

extern "C" {

/// nullptr where the CUDA pass can take the call: a CUDA device, float32 (head dim up to 128), bfloat16 or float16 (up
/// to 256), no mask tensor. Otherwise the reason; row_block_statistics is then the way.
__attribute__((visibility("default"))) const char* sinkscope_cuda_why_not(const sinkscope::AttentionCall* call);

/// The full pass on the device and current stream of the call; queues work, does not synchronise. Bitwise repeatable on
/// one device. Requires a call that check_call accepts and for which sinkscope_cuda_why_not is null. Throws c10::Error
/// where CUDA fails.
__attribute__((visibility("default"))) void sinkscope_cuda_fused_statistics(const sinkscope::AttentionCall* call,
                                                                            sinkscope::FullPass* pass);

}  // extern "C"
