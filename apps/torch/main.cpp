// Entry of the torch module: the commands that run a model. The program has parsed and checked the command line
// already.

#include <string_view>

#include "base/guard.h"
#include "run_bench.h"
#include "run_inspect.h"
#include "run_measure.h"
#include "torch_commands.h"

extern "C" __attribute__((visibility("default"))) int sinkscope_torch_main(int argc, char** argv) {
  using namespace sinkscope;
  return guarded(argc, argv, [&] {
    const std::string_view command = argv[1];
    if (command == "bench") return run_bench(parse_bench(argc, argv));
    if (command == "inspect") return run_inspect(parse_inspect(argc, argv));
    if (command == "measure") return run_measure(parse_measure(argc, argv), {argv + 1, argv + argc});
    throw UsageError("unknown command");
  });
}
