// The GPU tests without a usable device: they are skipped, and ctest says so. They never pass unseen. Where there is
// one, libtorch's CUDA half is loaded before the first test.
#include <dlfcn.h>

#include <stdexcept>

#include "skip_reason.h"

namespace {

/// Devices that the driver offers, 0 without a driver. Asks the driver itself: nothing has to be linked.
int device_count() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) return 0;
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto get_count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  int count = 0;
  if (init == nullptr || get_count == nullptr || init(0) != 0 || get_count(&count) != 0) return 0;
  return count;
}

/// libtorch asks once for a device, at the first random number or whatever else looks for an accelerator, and keeps
/// "there is none" for the life of the process.
void load_cuda_half() {
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) throw std::runtime_error(dlerror());
}

}  // namespace

const char* skip_reason() {
  if (device_count() == 0) return "no CUDA device";
  load_cuda_half();
  return nullptr;
}
