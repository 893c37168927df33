#pragma once
// One source of settings: the command line, the environment, a configuration file or a preset. resolve() puts them in
// order.

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.h"

namespace sinkscope {

struct SettingSource {
  std::string protocol;                   ///< of a paper preset: the paper whose whole protocol it is
  std::map<std::string, Given> settings;  ///< by long flag, "--length"
  std::map<std::pair<std::string, std::string>, Given> parameters;  ///< by metric and parameter
};

/// Adds "metric.parameter=value". Throws UsageError for another form, an unknown metric or an unknown parameter, naming
/// the nearest.
void add_parameter(SettingSource& source, const std::string& text, const std::string& where);

/// The SINKSCOPE_* variables of the settings in `groups`; lists are split at commas, SINKSCOPE_SET at semicolons.
/// Empty: unset.
SettingSource from_environment(const std::vector<Group>& groups);

/// SINKSCOPE_* variables that are no setting but nearly one, as warnings: a typing error must not go unseen.
std::vector<std::string> suspicious_variables();

/// A configuration file: keys of the settings at top level, a table per metric for its parameters. `name` is for
/// messages. Throws UsageError naming file and line for bad TOML, an unknown key (with the nearest valid one) or a
/// value of the wrong type. Only a preset may have the key `protocol`.
SettingSource from_toml(std::string_view text, const std::string& name, bool is_preset = false);

/// The text of `--config PATH`; `-` is stdin, which is rewound so that the torch half can read it again.
std::string read_config(const std::string& path);

}  // namespace sinkscope
