#pragma once
// The one table of settings: a row gives flag, environment variable, TOML key, help and where the value goes, so that
// the command line, the environment, configuration files, --dump-config and the report's `config.effective` are never
// kept in step by hand.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/measure_config.h"

namespace sinkscope {

/// Sections of --help; a command takes whole groups.
enum class Group { input, what, where, output, common };

enum class Kind { flag, text, integer, list, table };

/// The values that one source gives to one setting, as text, and where they were written: "--length",
/// "SINKSCOPE_LENGTH", "run.toml:3: length". Numbers and lists in a TOML file arrive here as text too, so one parser
/// serves all sources.
struct Given {
  std::vector<std::string> values;
  std::string where;
};

struct Setting {
  std::string flag;  ///< for CLI11: "--length" or "-o,--output"
  std::string key;   ///< TOML key; the environment variable is SINKSCOPE_ and this in capitals. Empty: flag only.
  Group group{};
  Kind kind{};
  std::string value_name;  ///< in --help; empty for flags
  std::string help;
  /// Part of `config.effective` of the report: another value can change a number.
  bool decides_numbers = false;
  /// Settings with the same name here exclude one another: the strongest source that has one of them decides.
  std::string exclusive;
  std::function<void(MeasureConfig&, const Given&)> set;  ///< throws UsageError that begins with Given::where
  std::function<std::vector<std::string>(const MeasureConfig&)> get;  ///< as `set` takes it; empty: unset
};

/// All settings, in the order of --help.
const std::vector<Setting>& settings();

/// "SINKSCOPE_LENGTH" for the key "length".
std::string environment_name(const std::string& key);

/// The long flag without the short one: "--output".
std::string long_flag(const Setting& setting);

}  // namespace sinkscope
