// Attention with its log-sum-exp on a GPU: the bits of the composite operator, whatever the backend and the mask.

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>

#include <algorithm>

#include "catch.h"
#include "kernels/reference.h"
#include "observe/sdpa_forward.h"

namespace sinkscope {
namespace {

/// Leaves one fused backend, besides the math that takes what it refuses; restores all.
struct OnlyBackend {
  explicit OnlyBackend(int backend) { use(backend == 0, backend == 1, backend == 2); }
  ~OnlyBackend() { use(true, true, true); }
  static void use(bool flash, bool efficient, bool cudnn) {
    at::globalContext().setSDPUseFlash(flash);
    at::globalContext().setSDPUseMemEfficient(efficient);
    at::globalContext().setSDPUseCuDNN(cudnn);
  }
};

/// 0: none; 1: causal; a bool mask of 2: all heads, 3: each head, with rows at odd places; 4: additive.
void set_mask(SdpaArguments& a, int kind) {
  const std::int64_t heads = a.query.size(1), length = a.query.size(2);
  a.is_causal = kind == 1;
  if (kind == 2) a.mask = at::ones({length, length}, at::kBool).tril();
  if (kind == 3) {
    a.mask = at::rand({1, heads, length, length}) < 0.7;
    a.mask->select(3, 0).fill_(true);  // no row without a key
  }
  if (kind == 4) a.mask = at::randn({1, 1, length, length}).to(a.query.scalar_type());
  if (a.mask) a.mask = a.mask->to(at::kCUDA);
}

}  // namespace

TEST_CASE("attention with its log-sum-exp has the bits of the composite operator on a GPU", "[gpu]") {
  const at::NoGradGuard no_grad;
  for (const int backend : {0, 1, 2})
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf})
      for (const std::int64_t length : {16, 33, 200})
        for (const int mask : {0, 1, 2, 3, 4}) {
          CAPTURE(backend, dtype, length, mask);
          const OnlyBackend only(backend);
          at::manual_seed(3);
          const auto rows = [&] { return at::randn({2, 4, length, 64}).to(at::kCUDA, dtype); };
          SdpaArguments a{rows(), rows(), rows()};
          set_mask(a, mask);
          const SdpaResult found = sdpa_forward(a);
          CHECK(found.output.equal(sdpa_composite(a)));
          if (!found.lse.defined()) continue;
          AttentionCall call{
              .query = a.query.cpu(), .key = a.key.cpu(), .score = {.scale = 0.125, .causal = a.is_causal}};
          if (a.mask) call.mask = a.mask->cpu();
          const at::Tensor truth = reference(call).lse;
          CHECK((found.lse.cpu().to(at::kDouble) - truth).abs().max().item<double>() < 5e-3);
        }
}

}  // namespace sinkscope
