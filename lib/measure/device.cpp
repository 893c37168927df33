#include "measure/device.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "base/error.h"
#include "graph/fixed_dtype.h"

namespace sinkscope {
namespace {

bool driver_node_present() {
  std::error_code code;
  return std::filesystem::exists("/dev/nvidiactl", code) || std::filesystem::exists("/dev/dxg", code);
}

/// Empty if CUDA can be used, else why not.
std::string load_cuda() {
  if (!driver_node_present()) return "this machine has no NVIDIA device";
  // libtorch_cpu is linked alone; the CUDA half registers itself when it is loaded.
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr)
    return fmt::format("libtorch_cuda cannot be loaded: {}", dlerror());
  return at::hasCUDA() ? "" : "libtorch finds no usable CUDA device";
}

at::ScalarType scalar_type(DType dtype) {
  return dtype == DType::bfloat16 ? at::kBFloat16 : dtype == DType::float16 ? at::kHalf : at::kFloat;
}

}  // namespace

at::Device open_device(Device device, int index) {
  if (device == Device::cpu) return at::kCPU;
  if (device == Device::automatic && !driver_node_present()) return at::kCPU;
  const std::string problem = load_cuda();
  if (problem.empty()) {
    const at::Device wanted(at::kCUDA, static_cast<at::DeviceIndex>(index));
    try {
      at::empty({1}, at::TensorOptions(wanted));
      return wanted;
    } catch (const std::exception& error) {
      throw DeviceError(fmt::format("--device cuda:{}: {}", index, cause_of(error)));
    }
  }
  if (device == Device::automatic) return at::kCPU;
  throw DeviceError(fmt::format("--device cuda: {}. Use --device cpu, or run where a GPU is.", problem));
}

void synchronise(at::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

int device_count(Device device) {
  return open_device(device, 0).is_cpu() ? 0 : static_cast<int>(at::detail::getCUDAHooks().deviceCount());
}

void move_to_dtype(LoadedModel& model, torch::jit::Graph& graph, DType dtype) {
  if (dtype == DType::keep) return;
  const at::ScalarType wanted = scalar_type(dtype);
  if (dtype_name(wanted) == model.dtype) return;
  for (const at::ScalarType own : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    if (dtype_name(own) != model.dtype) continue;
    if (const auto reason = fixed_to_dtype(graph, model.module, own, wanted))
      throw InputError(fmt::format(
          "{}: --dtype {}: the graph was traced in {} and {}, so in another dtype it would be another model. Export it "
          "again with --dtype {}.",
          model.path, dtype_name(wanted), model.dtype, *reason, dtype_name(wanted)));
  }
  const at::NoGradGuard no_grad;
  std::map<const void*, at::Tensor> moved;  // by where it lay, so that tied parameters stay one tensor
  for (const auto& p : model.module.named_parameters()) {
    at::Tensor value = p.value;
    if (!value.is_floating_point() || value.scalar_type() == wanted) continue;
    at::Tensor& to = moved[value.data_ptr()];
    if (!to.defined() || to.sizes() != value.sizes())
      to = is_placeholder(value) ? placeholder(value.sizes(), wanted) : value.to(wanted);
    value.set_data(to);
  }
  model.dtype = dtype_name(wanted);
}

}  // namespace sinkscope
