// sinkscope measure: everything that can be refused without libtorch is refused here; apps/torch runs the model.
#include "base/print.h"
#include "commands.h"
#include "config/command_line.h"
#include "config/preflight.h"
#include "torch_commands.h"
#include "torch_preparation.h"

namespace sinkscope {

Exit measure_command(int argc, char** argv) {
  std::vector<std::string> notes;
  const MeasureConfig config = parse_measure(argc, argv, &notes);
  print_notes(config, notes);
  if (config.dump_config) {
    print(to_toml(config));
    return Exit::ok;
  }
  check_files(config);
  return run_in_torch_module(argc, argv);
}

}  // namespace sinkscope
