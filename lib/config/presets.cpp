#include "config/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "base/embedded.h"
#include "base/error.h"
#include "base/nearest_name.h"

namespace sinkscope {
namespace {

constexpr std::string_view kFolder = "presets/";
constexpr std::string_view kSuffix = ".toml";

bool needs_full_pass(const MetricSpec& spec, const SettingSource& preset) {
  Parameters parameters(spec.parameters);
  for (const Parameter& parameter : spec.parameters) {
    const auto given = preset.parameters.find({spec.name, parameter.name});
    if (given != preset.parameters.end())
      parameters.set(parameter.name, parse_parameter(spec.name, parameter, given->second.values.at(0)));
  }
  return spec.needs(parameters).full_pass();
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (std::string_view file : embedded::names()) {
    if (!file.starts_with(kFolder) || !file.ends_with(kSuffix)) continue;
    file.remove_prefix(kFolder.size());
    file.remove_suffix(kSuffix.size());
    names.emplace_back(file);
  }
  return names;
}

SettingSource read_preset(const std::string& name, const std::string& where) {
  const std::vector<std::string> names = preset_names();
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw UsageError(fmt::format("{}: no preset '{}'{} Presets: {}", where, name, did_you_mean(name, names),
                                 fmt::join(names, ", ")));
  const std::string file = fmt::format("{}{}{}", kFolder, name, kSuffix);
  return from_toml(embedded::file(file), file, /*is_preset=*/true);
}

std::vector<const MetricSpec*> preset_metrics(const SettingSource& preset) {
  std::vector<const MetricSpec*> chosen;
  for (const std::string& name : preset.settings.at("--metric").values) {
    if (name != "all" && name != "no_full_pass") {
      chosen.push_back(&find_metric(name));
      continue;
    }
    for (const MetricSpec& spec : all_metrics())
      if (!spec.only_when_named && (name == "all" || !needs_full_pass(spec, preset))) chosen.push_back(&spec);
  }
  return chosen;
}

}  // namespace sinkscope
