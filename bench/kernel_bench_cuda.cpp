// The CUDA pass: its error against float64 row blocks on the device, and its time as a share of the fused forward of
// the same call (the backend torch would choose). Run by scripts/gpu_check.sh; a program, not a test.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>

#include "kernels/cuda/module.h"
#include "kernels/row_blocks.h"

namespace {

using sinkscope::AttentionCall;
using sinkscope::FullPass;

decltype(&sinkscope_cuda_fused_statistics) load_pass() {
  const char* path = std::getenv("SINKSCOPE_CUDA_MODULE");
  void* library = dlopen(path ? path : "sinkscope_cuda.so", RTLD_NOW);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return reinterpret_cast<decltype(&sinkscope_cuda_fused_statistics)>(
      dlsym(library, "sinkscope_cuda_fused_statistics"));
}

double milliseconds(const std::function<void()>& run) {
  cudaDeviceSynchronize();
  const auto start = std::chrono::steady_clock::now();
  run();
  cudaDeviceSynchronize();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

AttentionCall causal_call(std::int64_t heads, std::int64_t length, std::int64_t dim, at::ScalarType dtype) {
  const auto options = at::TensorOptions().device(at::kCUDA);
  return {.query = (at::randn({1, heads, length, dim}, options) * 1.5).to(dtype),
          .key = (at::randn({1, heads, length, dim}, options) * 1.5).to(dtype),
          .score = {.scale = 1 / std::sqrt(static_cast<double>(dim)), .causal = true}};
}

void print_errors(decltype(&sinkscope_cuda_fused_statistics) run, std::int64_t dim, at::ScalarType dtype) {
  AttentionCall call = causal_call(2, 8192, dim, dtype), wide = call;
  wide.query = wide.query.to(at::kDouble);
  wide.key = wide.key.to(at::kDouble);
  wide.lse = sinkscope::row_block_log_sum_exp(wide);
  call.lse = wide.lse.to(at::kFloat);
  const FullPass truth = sinkscope::row_block_statistics(wide, std::int64_t{2} << 30);
  FullPass pass;
  run(&call, &pass);
  std::printf(
      "error  %-8s T  8192 D %3lld: columns %.1e relative, head-mean entropy %.1e nats, rows: entropy %.1e, sum %.1e\n",
      c10::toString(dtype), static_cast<long long>(dim),
      ((pass.column_sum / truth.column_sum) - 1).abs().max().item<double>(),
      (pass.entropy.mean(-1, false, at::kDouble) - truth.entropy.mean(-1)).abs().max().item<double>(),
      (pass.entropy - truth.entropy).abs().max().item<double>(), (pass.row_sum - 1).abs().max().item<double>());
}

void print_times(decltype(&sinkscope_cuda_fused_statistics) run, std::int64_t length, std::int64_t dim,
                 at::ScalarType dtype) {
  AttentionCall call = causal_call(32, length, dim, dtype);
  const at::Tensor value = at::randn_like(call.query);
  call.lse = sinkscope::row_block_log_sum_exp(call, std::int64_t{1} << 30);
  double forward = 1e9, pass_time = 1e9;
  FullPass pass;
  for (int i = 0; i < 7; ++i) {  // interleaved
    forward =
        std::min(forward, milliseconds([&] {
                   at::scaled_dot_product_attention(call.query, call.key, value, std::nullopt, 0.0, /*is_causal=*/true);
                 }));
    pass_time = std::min(pass_time, milliseconds([&] { run(&call, &pass); }));
  }
  const double flop =
      2.0 * 32 * static_cast<double>(length) * static_cast<double>(length) / 2 * static_cast<double>(dim);
  std::printf("time   %-8s T %5lld D %3lld: forward %8.3f ms, pass %8.3f ms (%6.1f TFLOP/s), ratio %.3f\n",
              c10::toString(dtype), static_cast<long long>(length), static_cast<long long>(dim), forward, pass_time,
              flop / pass_time * 1e-9, pass_time / forward);
  std::fflush(stdout);
}

}  // namespace

int main() {
  const auto run = load_pass();
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf})
    for (const std::int64_t dim : {64, 128}) print_errors(run, dim, dtype);
  for (const std::int64_t length : {2048, 8192, 32768})
    for (const std::int64_t dim : {64, 128})
      for (const auto dtype : {at::kBFloat16, at::kHalf, at::kFloat})
        if (dtype != at::kFloat || length < 32768) print_times(run, length, dim, dtype);
}
