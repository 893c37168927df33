#pragma once
// configs/presets/NAME.toml, compiled into the program.

#include <string>
#include <vector>

#include "config/setting_source.h"

namespace sinkscope {

/// Names, in alphabetical order.
std::vector<std::string> preset_names();

/// Throws UsageError that names the nearest preset. `where` is for messages: "--preset".
SettingSource read_preset(const std::string& name, const std::string& where);

/// The metrics that a preset's list means, as positions in all_metrics(): besides names it may hold `all` (all but
/// those that run only when named) and `no_full_pass` (of these, the ones that need no pass over all keys, given the
/// preset's own parameters).
std::vector<const MetricSpec*> preset_metrics(const SettingSource& preset);

}  // namespace sinkscope
