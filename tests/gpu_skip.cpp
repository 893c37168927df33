// The GPU tests without a usable device: they are skipped, and ctest says so. They never pass unseen.
#include <dlfcn.h>

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

}  // namespace

const char* skip_reason() { return device_count() == 0 ? "no CUDA device" : nullptr; }
