#include "config/protocol.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace sinkscope {
namespace {

void compare_setting(MeasureConfig& config, const Setting& setting, const Given& given) {
  MeasureConfig as_published;
  setting.set(as_published, given);
  const auto is = setting.get(config), should = setting.get(as_published);
  if (is == should) return;
  // What the tokenizer does by itself is the protocol, whether it happened before (`keep`) or happens here (`auto`).
  if (setting.key == "bos" && is.front() == "auto") return;
  config.protocol_deviations.push_back(
      fmt::format("{} is {} instead of {}", setting.key, fmt::join(is, ","), fmt::join(should, ",")));
}

void compare_parameter(MeasureConfig& config, const MetricSpec& spec, const Parameters& parameters,
                       const std::string& name, const std::string& published) {
  const auto declared = std::find_if(spec.parameters.begin(), spec.parameters.end(),
                                     [&](const Parameter& parameter) { return parameter.name == name; });
  if (parameters.at(name) == parse_parameter(spec.name, *declared, published)) return;
  config.protocol_deviations.push_back(fmt::format("{}.{} is not {}", spec.name, name, published));
}

}  // namespace

void note_protocol(MeasureConfig& config, const SettingSource& preset) {
  if (preset.protocol.empty()) return;
  config.protocol = preset.protocol;
  for (const Setting& setting : settings()) {
    const auto given = preset.settings.find(long_flag(setting));
    if (given != preset.settings.end() && setting.exclusive.empty()) compare_setting(config, setting, given->second);
  }
  for (const SelectedMetric& selected : config.metrics)
    for (const auto& [name, given] : preset.parameters)
      if (name.first == selected.spec->name)
        compare_parameter(config, *selected.spec, selected.parameters, name.second, given.values.at(0));
  if (config.layers)
    config.protocol_deviations.push_back(fmt::format("only the layers {} are measured", *config.layers));
  if (config.sites) config.protocol_deviations.push_back(fmt::format("only the sites {} are measured", *config.sites));
}

std::vector<std::string> input_deviations(const MeasureConfig& config, std::int64_t sequences,
                                          std::int64_t without_bos) {
  std::vector<std::string> deviations;
  if (!config.protocol) return deviations;
  if (config.input.limit && sequences < *config.input.limit)
    deviations.push_back(fmt::format("{} sequences ran instead of {}", sequences, *config.input.limit));
  if (without_bos > 0)
    deviations.push_back(
        fmt::format("{} sequences do not begin with the BOS that the model's tokenizer puts there", without_bos));
  return deviations;
}

}  // namespace sinkscope
