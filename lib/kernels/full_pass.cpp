#include "kernels/full_pass.h"

#include <dlfcn.h>

#include "kernels/check_call.h"
#include "kernels/cuda/module.h"
#include "kernels/fused_log_sum_exp.h"
#include "kernels/fused_statistics.h"
#include "kernels/row_blocks.h"

namespace sinkscope {
namespace {

struct CudaModule {
  decltype(&sinkscope_cuda_why_not) why_not = nullptr;
  decltype(&sinkscope_cuda_fused_statistics) run = nullptr;
  std::string problem;
};

/// Found beside this module, through its run path. Kept open: kernels may be in flight until the process ends.
const CudaModule& cuda_module() {
  static const CudaModule loaded = [] {
    CudaModule module;
    void* handle = dlopen("sinkscope_cuda.so", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      module.problem = std::string("the CUDA kernels cannot be loaded: ") + dlerror();
      return module;
    }
    module.why_not = reinterpret_cast<decltype(module.why_not)>(dlsym(handle, "sinkscope_cuda_why_not"));
    module.run = reinterpret_cast<decltype(module.run)>(dlsym(handle, "sinkscope_cuda_fused_statistics"));
    if (module.why_not == nullptr || module.run == nullptr) module.problem = "sinkscope_cuda.so is of another build";
    return module;
  }();
  return loaded;
}

}  // namespace

bool full_pass_is_fused(const AttentionCall& call, std::string* why_not) {
  if (!call.query.is_cuda()) return fused_statistics_supports(call, why_not);
  const CudaModule& cuda = cuda_module();
  const char* reason = cuda.problem.empty() ? cuda.why_not(&call) : cuda.problem.c_str();
  if (reason != nullptr && why_not != nullptr) *why_not = reason;
  return reason == nullptr;
}

FullPass full_pass(const AttentionCall& call) {
  if (!full_pass_is_fused(call)) return row_block_statistics(call);
  if (!call.query.is_cuda()) return fused_statistics(call);
  check_call(call);
  FullPass pass;
  cuda_module().run(&call, &pass);
  return pass;
}

at::Tensor log_sum_exp(const AttentionCall& call) {
  check_call(call, /*needs_lse=*/false);
  return fused_statistics_supports(call) ? fused_log_sum_exp(call) : row_block_log_sum_exp(call);
}

}  // namespace sinkscope
