#pragma once
// Flags over SINKSCOPE_* environment over --config file over preset over default (docs/cli.md).

#include <string>
#include <vector>

#include "config/setting_source.h"

namespace sinkscope {

/// The configuration that the flags ask for. `groups`: the settings that the command takes; without Group::what there
/// are no metrics, presets or configuration files. `notes`, if given, receives one line for each environment variable
/// that was used, and a warning of parameters that no measured metric has. Throws UsageError for anything that cannot
/// be meant: unknown names, values out of range, settings that exclude one another.
MeasureConfig resolve(const SettingSource& flags, const std::vector<Group>& groups,
                      std::vector<std::string>* notes = nullptr);

}  // namespace sinkscope
