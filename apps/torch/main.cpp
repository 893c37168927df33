// Entry of the torch module: the commands that run a model. The program has parsed and checked the command line
// already.

#include <malloc.h>

#include <string_view>

#include <c10/util/Exception.h>

#include "base/guard.h"
#include "run_bench.h"
#include "run_inspect.h"
#include "run_measure.h"
#include "run_sweep.h"
#include "torch_commands.h"

namespace {

/// Layers ask for the same tensors over and over. glibc would give their memory back each time and have the kernel clear
/// it again, which takes 4 % of a forward pass of a small model. Larger tensors are still given back.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest that glibc accepts
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int sinkscope_torch_main(int argc, char** argv) {
  using namespace sinkscope;
  keep_freed_memory();
  const auto run = [&] {
    const std::string_view command = argv[1];
    if (command == "bench") return run_bench(parse_bench(argc, argv));
    if (command == "inspect") return run_inspect(parse_inspect(argc, argv));
    if (command == "measure") return run_measure(parse_measure(argc, argv), {argv + 1, argv + argc});
    if (command == "sweep") return run_sweep(parse_sweep(argc, argv), {argv + 1, argv + argc});
    throw UsageError("unknown command");
  };
  return guarded(argc, argv, [&] {
    try {
      return run();
    } catch (const c10::Error& error) {
      const std::string_view what = error.what_without_backtrace();
      if (what.find("allocate memory") == what.npos && what.find("out of memory") == what.npos) throw;
      throw DeviceError("out of memory. Try a smaller --batch or --length.");
    }
  });
}
