#include "config/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/error.h"
#include "base/guard.h"
#include "base/nearest_name.h"

namespace sinkscope {
namespace {

const char* title_of(Group group) {
  switch (group) {
    case Group::input:
      return "Input (first that is given; none: the samples stored in the model file)";
    case Group::what:
      return "What is measured";
    case Group::where:
      return "Where and with which weights";
    case Group::output:
      return "Output";
    case Group::common:
      return "Common";
  }
  return "";
}

void add_option(CLI::App& app, const Setting& setting, SettingSource& given) {
  const std::string flag = long_flag(setting);
  CLI::Option* option = nullptr;
  if (setting.kind == Kind::flag) {
    option = app.add_flag_callback(
        setting.flag,
        [&given, flag] {
          given.settings[flag] = {{"true"}, flag};
        },
        setting.help);
  } else if (setting.kind == Kind::list || setting.kind == Kind::table) {
    option = app.add_option_function<std::vector<std::string>>(
        setting.flag,
        [&given, flag](const std::vector<std::string>& texts) {
          given.settings[flag] = {texts, flag};
        },
        setting.help);
    option->allow_extra_args(false);  // one value each time, or `--metric loss MODEL` would swallow MODEL
  } else {
    option = app.add_option_function<std::string>(
        setting.flag,
        [&given, flag](const std::string& text) {
          given.settings[flag] = {{text}, flag};
        },
        setting.help);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // a script can append to a command line
  }
  option->group(title_of(setting.group));
  if (!setting.value_name.empty()) option->type_name(setting.value_name);
}

/// Names of the flags of `app`, with dashes.
std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/// Throws for what no flag or positional took, but for the `--` itself that ends the flags.
void refuse_extra(const CLI::App& app, std::vector<std::string> extra, const std::string& command) {
  const auto end_of_flags = std::find(extra.begin(), extra.end(), "--");
  for (auto at = extra.begin(); at != end_of_flags; ++at) {
    const std::string& argument = *at;
    if (!argument.starts_with('-') || argument == "-") continue;
    const std::string flag = argument.substr(0, argument.find('='));
    throw UsageError(fmt::format("{}: unknown flag '{}'{} `sinkscope {} --help` lists all.", command, flag,
                                 did_you_mean(flag, flags_of(app)), command));
  }
  if (end_of_flags != extra.end()) extra.erase(end_of_flags);
  if (!extra.empty())
    throw UsageError(fmt::format("{}: unexpected argument '{}'. `sinkscope {} --help` shows the usage.", command,
                                 extra.front(), command));
}

/// An empty argument is a variable of the shell that is not set: no file, name or value is empty.
void refuse_empty(const std::vector<std::string>& arguments, const std::string& command) {
  const auto refuse = [&](const std::string& place) {
    throw UsageError(fmt::format("{}: an empty argument{}; is a variable of the shell not set?", command, place));
  };
  std::string before;
  for (const std::string& argument : arguments) {
    if (argument.empty()) refuse(before.starts_with('-') ? " after " + before : "");
    if (argument.starts_with("--") && argument.find('=') == argument.size() - 1) refuse(" in " + argument);
    before = argument;
  }
}

void add_model(CLI::App& app, std::string& model) {
  app.add_option_function<std::string>(
         "MODEL", [&model](const std::string& path) { model = path; }, "TorchScript file (.pt)")
      ->type_name(" ");
}

void require_model(const std::string& model, const std::string& command) {
  if (model.empty())
    throw UsageError(
        fmt::format("{}: no MODEL given. Usage: sinkscope {} MODEL [options], see --help.", command, command));
}

constexpr const char* kInspectExamples = R"(Examples:
  sinkscope inspect model.pt
  sinkscope inspect model.pt --run --random-tokens 1 --json
)";

constexpr const char* kBenchExamples = R"(Examples:
  sinkscope bench model.pt --random-tokens 1 --length 4096
  sinkscope bench model.pt --preset quick --runs 11 --json
)";

constexpr const char* kMeasureExamples =
    R"(Every setting but those under Output and Common can also stand in a --config file and in the environment: --random-tokens is
random_tokens and SINKSCOPE_RANDOM_TOKENS (--metric and --label: metrics and labels; --set: a table [METRIC]; lists in the environment
have commas, SINKSCOPE_SET semicolons). Flags win over the environment, then the file, then the preset.

Examples:
  sinkscope measure model.pt                                     samples stored in the file, all metrics
  sinkscope measure model.pt --tokens text.jsonl --length 64 -o report.json
  sinkscope measure model.pt --random-tokens 100 --metric sink_rate --set sink_rate.epsilon=0.2
  sinkscope measure model.pt --preset gu2024 --tokens text.jsonl --json
  sinkscope measure model.pt --preset quick --dump-config > quick.toml
)";

}  // namespace

void add_options(CLI::App& app, Group group, SettingSource& given) {
  for (const Setting& setting : settings())
    if (setting.group == group) add_option(app, setting, given);
}

void add_input_options(CLI::App& app, SettingSource& given) { add_options(app, Group::input, given); }

void add_what_options(CLI::App& app, SettingSource& given) {
  add_options(app, Group::what, given);
  const auto add_parameters = [&given](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) add_parameter(given, text, "--set");
  };
  app.add_option_function<std::vector<std::string>>("--set", add_parameters,
                                                    "a parameter of a metric, see `sinkscope list`; repeatable")
      ->allow_extra_args(false)
      ->type_name("METRIC.PARAMETER=VALUE")
      ->group(title_of(Group::what));
  app.add_option_function<std::string>(
         "--config",
         [&given](const std::string& path) {
           given.settings["--config"] = {{path}, "--config"};
         },
         "configuration file; - is stdin")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->type_name("FILE.toml")
      ->group(title_of(Group::what));
}

void add_where_options(CLI::App& app, SettingSource& given) { add_options(app, Group::where, given); }

void add_common_options(CLI::App& app, SettingSource& given) { add_options(app, Group::common, given); }

CommonOptions common_options(const SettingSource& given) {
  const auto has = [&](const char* flag) { return given.settings.contains(flag); };
  return {has("--quiet"), has("--verbose"), !has("--no-color"), !has("--no-progress")};
}

void parse(CLI::App& app, int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  app.name("sinkscope " + command);
  app.set_help_flag("-h,--help", "print this help")->group(title_of(Group::common));
  app.get_formatter()->column_width(38);
  app.allow_extras();  // named below, with the nearest flag
  std::vector<std::string> arguments(argv + std::min(argc, 2), argv + argc);
  refuse_empty(arguments, command);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    throw TextRequested{app.help()};
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text = error.what();
    throw UsageError(fmt::format("{}: {} needs a value. `sinkscope {} --help` shows the usage.", command,
                                 text.substr(0, text.find(':')), command));
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{}: {}. `sinkscope {} --help` shows the usage.", command, error.what(), command));
  }
  refuse_extra(app, app.remaining(), command);
}

MeasureConfig parse_measure(int argc, char** argv, std::vector<std::string>* notes) {
  CLI::App app("Runs a TorchScript model over token sequences and measures its attention sinks.");
  SettingSource given;
  std::string model;
  add_model(app, model);
  const std::vector<Group> groups = {Group::input, Group::what, Group::where, Group::output, Group::common};
  add_input_options(app, given);
  add_what_options(app, given);
  add_where_options(app, given);
  add_options(app, Group::output, given);
  add_common_options(app, given);
  app.footer(kMeasureExamples);
  parse(app, argc, argv);
  MeasureConfig config = resolve(given, groups, notes);
  config.model = model;
  if (!config.dump_config) require_model(model, "measure");
  if (config.output == "-") {  // the same wish in other words
    config.output.reset();
    config.json = true;
  }
  return config;
}

BenchConfig parse_bench(int argc, char** argv, std::vector<std::string>* notes) {
  CLI::App app("Says what measuring costs: the plain run and each preset, interleaved in one process.");
  SettingSource given;
  BenchConfig config;
  std::string model;
  std::vector<std::string> presets{"quick", "full"};
  bool json = false;
  add_model(app, model);
  app.add_option("--preset", presets, "preset to time (quick and full); repeatable")
      ->allow_extra_args(false)
      ->type_name("NAME");
  app.add_option("--runs", config.runs, "counted rounds (5), after one that is not")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  app.add_flag("--json", json, "print JSON on stdout");
  add_input_options(app, given);
  add_where_options(app, given);
  add_common_options(app, given);
  app.footer(kBenchExamples);
  parse(app, argc, argv);
  config.settings = resolve(given, {Group::input, Group::where, Group::common}, notes);
  require_model(model, "bench");
  config.settings.model = model;
  config.settings.json = json;
  for (const std::string& preset : presets) {
    SettingSource with_preset = given;
    with_preset.settings["--preset"] = {{preset}, "--preset"};
    config.presets.emplace_back(preset, resolve(with_preset, {Group::input, Group::what, Group::where, Group::common}));
    config.presets.back().second.model = model;
  }
  return config;
}

InspectConfig parse_inspect(int argc, char** argv, std::vector<std::string>* notes) {
  CLI::App app(
      "Lists the attention sites of a model, how each will be measured and why, and what was left alone and why.");
  SettingSource given;
  std::string model;
  InspectConfig config;
  bool json = false;
  add_model(app, model);
  app.add_flag("--run", config.run, "run one sequence and add the shapes of a real call");
  app.add_flag("--json", json, "print JSON on stdout");
  add_input_options(app, given);
  add_where_options(app, given);
  add_common_options(app, given);
  app.footer(kInspectExamples);
  parse(app, argc, argv);
  config.settings = resolve(given, {Group::input, Group::where, Group::common}, notes);
  config.settings.model = model;
  config.settings.json = json;
  config.settings.runs_model = config.run;
  require_model(model, "inspect");
  return config;
}

}  // namespace sinkscope
