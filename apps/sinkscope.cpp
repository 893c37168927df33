// main: finds the command, runs it, turns what went wrong into one message and an exit code.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/guard.h"
#include "base/nearest_name.h"
#include "base/terminal.h"
#include "base/version.h"
#include "commands.h"
#include "torch_commands.h"

namespace sinkscope {
namespace {

struct Command {
  std::string name, summary;
  Exit (*run)(int argc, char** argv);
  bool needs_torch = false;
};

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"inspect", "list the attention sites of a model and how each will be measured", inspect_command, true},
      {"measure", "run a model over token sequences and write one report", measure_command, true},
      {"sweep", "measure every checkpoint of a model: resumable, in parts, one report each", sweep_command},
      {"bench", "what measuring costs: the plain run and each preset, interleaved", bench_command, true},
      {"show", "render saved reports: tables, strongest heads, CSV, a methods paragraph", show_command},
      {"check", "compare a report with a baseline; fail where a value moved too far", check_command},
      {"diff", "what differs between two reports, largest change first", diff_command},
      {"list", "the table of metrics: definition, parameters, cost, tolerance", list_command},
      {"schema", "print the JSON Schema of the report", schema_command},
  };
  return all;
}

const Command* find_command(const std::string& name) {
  for (const Command& command : commands())
    if (command.name == name) return &command;
  return nullptr;
}

std::string help() {
  std::string text =
      "Measures attention sinks in TorchScript models.\n\nUsage: sinkscope COMMAND [options]\n\nCommands:\n";
  const bool torch = torch_module_present();
  for (const Command& command : commands())
    if (torch || !command.needs_torch) text += fmt::format("  {:<9}{}\n", command.name, command.summary);
  if (!torch) text += "This sinkscope was built without libtorch and cannot run models.\n";
  return text +
         "\n`sinkscope COMMAND --help` shows the options and examples of a command.\n\nOptions:\n"
         "  -h, --help   print this help\n  --version    print the version\n\nExamples:\n"
         "  sinkscope measure model.pt --tokens text.jsonl -o report.json\n"
         "  sinkscope show report.json --heads\n"
         "  sinkscope check report.json --baseline baseline.json\n"
         "  sinkscope list\n";
}

[[noreturn]] void refuse(const std::string& argument) {
  if (argument.starts_with('-'))
    throw UsageError(
        fmt::format("unknown flag '{}' before a command: write `sinkscope COMMAND {}`, or see `sinkscope --help`",
                    argument, argument));
  std::vector<std::string> names;
  for (const Command& command : commands()) names.push_back(command.name);
  throw UsageError(
      fmt::format("unknown command '{}'{} `sinkscope --help` lists all.", argument, did_you_mean(argument, names)));
}

Exit run(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first.empty()) throw UsageError("no command given\n\n" + help());
  if (first == "-h" || first == "--help" || (first == "help" && argc == 2)) throw TextRequested{help()};
  if (first == "--version") throw TextRequested{fmt::format("sinkscope {} ({})\n", version(), commit())};
  if (first == "help") {  // `sinkscope help measure`, as with git
    char flag[] = "--help";
    std::vector<char*> arguments = {argv[0], argv[2], flag, nullptr};
    if (const Command* command = find_command(argv[2])) return command->run(3, arguments.data());
    refuse(argv[2]);
  }
  if (const Command* command = find_command(first)) return command->run(argc, argv);
  refuse(first);
}

}  // namespace
}  // namespace sinkscope

int main(int argc, char** argv) {
  sinkscope::keep_standard_streams();
  sinkscope::end_quietly_on_closed_pipe();
  return sinkscope::guarded(argc, argv, [&] { return sinkscope::run(argc, argv); });
}
