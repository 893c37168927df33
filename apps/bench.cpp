// sinkscope bench: parses and checks; apps/torch runs the model.
#include "commands.h"
#include "config/command_line.h"
#include "config/preflight.h"
#include "torch_commands.h"
#include "torch_preparation.h"

namespace sinkscope {

Exit bench_command(int argc, char** argv) {
  std::vector<std::string> notes;
  const BenchConfig config = parse_bench(argc, argv, &notes);
  print_notes(config.settings, notes);
  check_files(config.settings);
  return run_in_torch_module(argc, argv);
}

}  // namespace sinkscope
