#pragma once
// Flags with CLI11, made from the table of settings. The program and the torch module parse the same command line with
// the same functions; only the program prints what parsing has to say.

#include <string>
#include <vector>

#include "config/resolve.h"

namespace CLI {
class App;
}

namespace sinkscope {

/// Adds the flags of a group; what is given goes to `given`, which must outlive parsing.
void add_options(CLI::App& app, Group group, SettingSource& given);

/// INPUT: which sequences run.
void add_input_options(CLI::App& app, SettingSource& given);
/// WHAT: preset, metrics, parameters (--set), --config, restrictions to layers and sites.
void add_what_options(CLI::App& app, SettingSource& given);
/// WHERE: device, dtype, threads, weights.
void add_where_options(CLI::App& app, SettingSource& given);
/// -q, -v, --no-color, --no-progress.
void add_common_options(CLI::App& app, SettingSource& given);

struct CommonOptions {
  bool quiet = false, verbose = false, color = true, progress = true;
};
CommonOptions common_options(const SettingSource& given);

/// Parses the arguments after the name of the command, argv[1]. -h and --help throw TextRequested; an unknown flag, a
/// missing value, an empty argument or an argument too many throw UsageError (with the nearest flag). `--` ends the
/// flags: what follows is positional. An option given twice has its last value, repeatable ones have all.
void parse(CLI::App& app, int argc, char** argv);

/// `sinkscope measure ...`. `notes` as in resolve().
MeasureConfig parse_measure(int argc, char** argv, std::vector<std::string>* notes = nullptr);

struct InspectConfig {
  MeasureConfig settings;  ///< model, input, weights, device, dtype, threads, json and the common ones; no metrics
  bool run = false;        ///< one real call, for shapes
};

struct BenchConfig {
  MeasureConfig settings;  ///< model, input, weights, device, dtype, threads, json and the common ones
  std::vector<std::pair<std::string, MeasureConfig>> presets;  ///< name and the same settings with its metrics
  std::int64_t runs = 5;                                       ///< counted rounds
};

/// `sinkscope bench ...`.
BenchConfig parse_bench(int argc, char** argv, std::vector<std::string>* notes = nullptr);

/// `sinkscope inspect ...`.
InspectConfig parse_inspect(int argc, char** argv, std::vector<std::string>* notes = nullptr);

}  // namespace sinkscope
