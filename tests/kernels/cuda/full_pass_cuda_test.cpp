// The CUDA pass on a device, against the float64 reference on the CPU. Skipped visibly without a device
// (tests/gpu_skip.cpp).

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_strided.h>
#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "catch.h"
#include "kernels/cuda/module.h"
#include "kernels/row_blocks.h"
#include "kernels/score_cases.h"

namespace sinkscope {
namespace {

/// sinkscope_cuda.so, beside the test program or where SINKSCOPE_CUDA_MODULE says. tests/gpu_skip.cpp has loaded
/// libtorch's CUDA half before.
struct Module {
  decltype(&sinkscope_cuda_why_not) why_not = nullptr;
  decltype(&sinkscope_cuda_fused_statistics) run = nullptr;
};

const Module& cuda_module() {
  static const Module loaded = [] {
    const char* path = std::getenv("SINKSCOPE_CUDA_MODULE");
    void* library = dlopen(path ? path : "sinkscope_cuda.so", RTLD_NOW);
    if (library == nullptr) throw std::runtime_error(dlerror());
    return Module{reinterpret_cast<decltype(&sinkscope_cuda_why_not)>(dlsym(library, "sinkscope_cuda_why_not")),
                  reinterpret_cast<decltype(&sinkscope_cuda_fused_statistics)>(
                      dlsym(library, "sinkscope_cuda_fused_statistics"))};
  }();
  return loaded;
}

AttentionCall on_device(AttentionCall call) {
  const auto move = [](const at::Tensor& x) {
    // Not x.cuda(): it would make dense what the case made strided.
    at::Tensor moved = at::empty_strided(x.sizes(), x.strides(), x.options().device(at::kCUDA));
    return moved.copy_(x);
  };
  call.query = move(call.query);
  call.key = move(call.key);
  call.lse = move(call.lse);
  for (auto* optional : {&call.mask, &call.key_padding, &call.sink_logit})
    if (*optional) *optional = move(**optional);
  return call;
}

FullPass cuda_pass(const AttentionCall& call) {
  FullPass pass;
  cuda_module().run(&call, &pass);
  return {pass.column_sum.cpu(), pass.entropy.cpu(), pass.row_max.cpu(), pass.row_sum.cpu()};
}

}  // namespace

TEST_CASE("the CUDA pass agrees with the reference on every case and dtype", "[gpu]") {
  for (const auto& score_case : testing::score_cases())
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      CAPTURE(score_case.name, dtype);
      const AttentionCall call = testing::make_call(score_case, dtype), moved = on_device(call);
      if (cuda_module().why_not(&moved) != nullptr) continue;
      testing::check_against(testing::Yardstick(call), call, cuda_pass(moved));
    }
}

TEST_CASE("row blocks agree with the reference on a CUDA device", "[gpu]") {
  for (const auto& score_case : testing::score_cases()) {
    CAPTURE(score_case.name);
    const AttentionCall call = testing::make_call(score_case, at::kBFloat16);
    testing::check_against(testing::Yardstick(call), call, row_block_statistics(on_device(call), 200000));
  }
}

TEST_CASE("the CUDA pass repeats bit for bit", "[gpu]") {
  const AttentionCall call = on_device(testing::make_call(
      {.name = "", .heads = 3, .kv_heads = 1, .queries = 5000, .keys = 5000, .dim = 64, .score = {.causal = true}},
      at::kBFloat16));
  const FullPass first = cuda_pass(call);
  for (int i = 0; i < 5; ++i) {
    const FullPass again = cuda_pass(call);
    CHECK(again.column_sum.equal(first.column_sum));
    CHECK(again.entropy.equal(first.entropy));
    CHECK(again.row_sum.equal(first.row_sum));
  }
}

TEST_CASE("masks and float64 are left to the row blocks", "[gpu]") {
  AttentionCall call =
      on_device(testing::make_call({.name = "", .mask = testing::ScoreCase::Mask::boolean}, at::kFloat));
  CHECK_THAT(std::string(cuda_module().why_not(&call)), contains("mask"));
  call = on_device(testing::make_call({.name = ""}, at::kDouble));
  CHECK_THAT(std::string(cuda_module().why_not(&call)), contains("dtype"));
}

}  // namespace sinkscope
