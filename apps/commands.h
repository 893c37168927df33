#pragma once
// The subcommands. Each parses its own flags (config/command_line.h), so that starting one costs nothing for the
// others. argv is the whole command line: argv[0] the program, argv[1] the name of the command.

#include "base/error.h"

namespace sinkscope {

Exit bench_command(int argc, char** argv);
Exit check_command(int argc, char** argv);
Exit diff_command(int argc, char** argv);
Exit inspect_command(int argc, char** argv);
Exit list_command(int argc, char** argv);
Exit measure_command(int argc, char** argv);
Exit schema_command(int argc, char** argv);
Exit show_command(int argc, char** argv);
Exit sweep_command(int argc, char** argv);

}  // namespace sinkscope
