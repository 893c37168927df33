// sinkscope schema: the JSON Schema of the report, as compiled in.
#include <CLI/CLI.hpp>

#include "base/embedded.h"
#include "base/print.h"
#include "commands.h"
#include "config/command_line.h"

namespace sinkscope {

Exit schema_command(int argc, char** argv) {
  CLI::App app("Prints the JSON Schema (draft 2020-12) of the report that `sinkscope measure` writes.");
  SettingSource given;
  add_common_options(app, given);
  app.footer("Examples:\n  sinkscope schema > report.schema.json\n");
  parse(app, argc, argv);
  print(embedded::file("report.schema.json"));
  return Exit::ok;
}

}  // namespace sinkscope
