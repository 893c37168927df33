// The fused CPU pass as a share of the flash forward of the same call: minima of interleaved runs. A program, not a
// test.
//   kernel_bench [threads [length ...]]
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/Version.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <tuple>
#include <vector>

#include "kernels/first_keys.h"
#include "kernels/fused_statistics.h"
#include "kernels/norms.h"
#include "kernels/stream_statistics.h"
#include "kernels/tile_kernels.h"

namespace {

double milliseconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void compare(at::ScalarType dtype, std::int64_t length, std::int64_t dim) {
  const std::int64_t heads = 8;
  const at::Tensor q = (at::randn({1, heads, length, dim}) * 1.5).to(dtype),
                   k = (at::randn({1, heads, length, dim}) * 1.5).to(dtype);
  const at::Tensor v = at::randn({1, heads, length, dim}).to(dtype);
  sinkscope::AttentionCall call{
      .query = q, .key = k, .score = {.scale = 1 / std::sqrt(static_cast<double>(dim)), .causal = true}};
  double forward = 1e9, pass = 1e9;
  const int repeats = length > 8192 ? 3 : 9;
  for (int i = 0; i < repeats; ++i) {  // interleaved, so that both see the same neighbours on the machine
    forward = std::min(forward, milliseconds([&] {
                         call.lse = std::get<1>(at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, true));
                       }));
    pass = std::min(pass, milliseconds([&] { sinkscope::fused_statistics(call); }));
  }
  const double gflop = 2.0 * static_cast<double>(heads * length * (length + 1) / 2 * dim) * 1e-9;
  std::printf("%-9s T %6lld D %4lld: forward %9.2f ms, pass %9.2f ms (%6.1f GFLOP/s), ratio %.3f\n",
              c10::toString(dtype), static_cast<long long>(length), static_cast<long long>(dim), forward, pass,
              gflop / pass * 1e3, pass / forward);
  std::fflush(stdout);
}

/// What the quick preset adds a site and a stream: milliseconds, minima.
void quick_parts(at::ScalarType dtype, std::int64_t batch, std::int64_t length) {
  const std::int64_t heads = 8, kv_heads = 2, dim = 64, width = 512;
  const at::Tensor q = at::randn({batch, length, heads, dim}).to(dtype).transpose(1, 2);
  const at::Tensor k = at::randn({batch, length, kv_heads, dim}).to(dtype).transpose(1, 2);
  const at::Tensor stream = at::randn({batch, length, width}).to(dtype);
  const sinkscope::AttentionCall call{
      .query = q, .key = k, .score = {.scale = 0.125, .causal = true}, .lse = at::full({batch, heads, length}, 10.0)};
  double keys = 1e9, extremes = 1e9, norms = 1e9, vectors = 1e9, full = 1e9;
  for (int i = 0; i < 9; ++i) {
    keys = std::min(keys, milliseconds([&] {
                      sinkscope::first_keys_sums(call, {.keys = 4, .tail_rows = 16, .after_first_k = 4});
                    }));
    extremes = std::min(extremes, milliseconds([&] { sinkscope::stream_statistics(stream, {}); }));
    norms = std::min(norms, milliseconds([&] { sinkscope::stream_statistics(stream, {.extremes = false}); }));
    vectors = std::min(vectors, milliseconds([&] {
                         sinkscope::first_and_others_norms(k);
                         sinkscope::mean_and_last_norms(q);
                       }));
    full = std::min(full, milliseconds([&] { sinkscope::fused_statistics(call); }));
  }
  std::printf(
      "%-9s B %4lld T %6lld: first keys %6.2f ms, stream %6.2f ms (norms alone %5.2f), key and head norms %5.2f ms, "
      "pass %6.2f ms\n",
      c10::toString(dtype), static_cast<long long>(batch), static_cast<long long>(length), keys, extremes, norms,
      vectors, full);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : at::get_num_threads());
  std::vector<std::int64_t> lengths;
  for (int i = 2; i < argc; ++i) lengths.push_back(std::atoll(argv[i]));
  if (lengths.empty()) lengths = {1024, 4096};
  std::printf("threads %d, capability %s, kernels %s\n", at::get_num_threads(), at::get_cpu_capability().c_str(),
              sinkscope::instruction_set());
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    quick_parts(dtype, 1, 4096);
    quick_parts(dtype, 100, 64);
  }
  for (const std::int64_t length : lengths)
    for (const std::int64_t dim : {64, 128})
      for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) compare(dtype, length, dim);
}
