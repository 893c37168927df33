// The torch side of the CUDA full pass: operands the kernel can read, guard, stream, launch.

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/cuda/fused_statistics_launch.h"
#include "kernels/cuda/module.h"
#include "kernels/cuda/tile_schedule.h"

namespace sinkscope {
namespace {

CudaElement element_of(at::ScalarType dtype) {
  return dtype == at::kFloat ? CudaElement::f32 : dtype == at::kBFloat16 ? CudaElement::bf16 : CudaElement::f16;
}

/// `x` [B, N, T, D], copied (and padded with zeros) only where 16-byte copies of its rows are impossible.
at::Tensor aligned(const at::Tensor& x) {
  const std::int64_t unit = 16 / static_cast<std::int64_t>(x.element_size()),
                     missing = (unit - x.size(3) % unit) % unit;
  if (missing > 0) return at::constant_pad_nd(x, {0, missing}).contiguous();
  bool fits = x.stride(3) == 1 && reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0;
  for (int dim = 0; dim < 3; ++dim) fits = fits && (x.size(dim) <= 1 || x.stride(dim) % unit == 0);
  // A fresh allocation is aligned; contiguous() alone would hand back a dense tensor at an odd offset.
  return fits ? x : x.clone(at::MemoryFormat::Contiguous);
}

/// Thread blocks that run at once. More would not even out causal attention, of which all parts have about the same
/// work, and each costs scratch memory (parts_of_head).
std::int64_t resident_blocks(CudaElement element, std::int64_t dim, int device) {
  constexpr int kMost = 4;         // of a multiprocessor, 512 threads: 128 registers each
  constexpr int kReserved = 1024;  // bytes of shared memory that CUDA itself takes of a block
  int processors = 0, shared = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device));
  const std::int64_t fitting = shared / (fused_statistics_shared_bytes(element, dim) + kReserved);
  return std::clamp<std::int64_t>(fitting, 1, kMost) * processors;
}

}  // namespace
}  // namespace sinkscope

extern "C" {

const char* sinkscope_cuda_why_not(const sinkscope::AttentionCall* call) {
  using namespace sinkscope;
  const at::Tensor& query = call->query;
  const auto dtype = query.scalar_type();
  if (!query.is_cuda()) return "the CUDA pass does not take its device";
  if (call->mask) return "the CUDA pass does not take a mask tensor";
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kHalf)
    return "the CUDA pass does not take its dtype";
  if (query.size(3) > largest_cuda_dim(element_of(dtype))) return "the CUDA pass does not take its head dim";
  int major = 0, shared = 0;
  const int device = query.device().index();
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  if (major < 8) return "the CUDA pass needs compute capability 8.0";
  if (fused_statistics_shared_bytes(element_of(dtype), query.size(3)) > shared)
    return "the CUDA pass needs more shared memory than this GPU has for its head dim and dtype";
  return nullptr;
}

void sinkscope_cuda_fused_statistics(const sinkscope::AttentionCall* call, sinkscope::FullPass* pass) {
  using namespace sinkscope;
  const c10::cuda::CUDAGuard on(call->query.device());
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream();
  const at::Tensor query = aligned(call->query), key = aligned(call->key);
  const at::Tensor lse = call->lse.to(at::kFloat).contiguous();
  at::Tensor visible;
  if (call->key_padding) visible = call->key_padding->to(at::kBool).contiguous();
  const std::int64_t batch = query.size(0), heads = query.size(1), queries = query.size(2), keys = key.size(2);
  const auto options = query.options().dtype(at::kFloat);
  *pass = {.column_sum = at::empty({batch, heads, keys}, options),
           .entropy = at::empty({batch, heads, queries}, options),
           .row_max = at::empty({batch, heads, queries}, options),
           .row_sum = at::empty({batch, heads, queries}, options)};
  if (batch * queries == 0 || keys == 0) {  // nothing is launched: no pair is visible
    pass->column_sum.zero_();
    pass->entropy.zero_();
    pass->row_sum.zero_();
    pass->row_max.fill_(-std::numeric_limits<double>::infinity());
    return;
  }
  const std::int64_t blocks = resident_blocks(element_of(query.scalar_type()), query.size(3), query.device().index());
  FusedStatisticsArgs args{.query = query.const_data_ptr(),
                           .key = key.const_data_ptr(),
                           .lse = lse.const_data_ptr<float>(),
                           .key_visible = visible.defined()
                                              ? reinterpret_cast<const std::uint8_t*>(visible.const_data_ptr<bool>())
                                              : nullptr,
                           .column_sum = pass->column_sum.mutable_data_ptr<float>(),
                           .entropy = pass->entropy.mutable_data_ptr<float>(),
                           .row_max = pass->row_max.mutable_data_ptr<float>(),
                           .row_sum = pass->row_sum.mutable_data_ptr<float>(),
                           .scratch = nullptr,
                           .batch = batch,
                           .heads = heads,
                           .kv_heads = key.size(1),
                           .queries = queries,
                           .keys = keys,
                           .dim = query.size(3),
                           .query_stride = {query.stride(0), query.stride(1), query.stride(2)},
                           .key_stride = {key.stride(0), key.stride(1), key.stride(2)},
                           .score = call->score,
                           .element = element_of(query.scalar_type()),
                           .parts = parts_of_head(batch * heads, keys, blocks)};
  // The caching allocator keeps this memory for `stream` until the kernels have run.
  const at::Tensor scratch = at::empty({fused_statistics_scratch(args)}, options);
  args.scratch = scratch.mutable_data_ptr<float>();
  C10_CUDA_CHECK(launch_fused_statistics(args, stream));
}

}  // extern "C"
