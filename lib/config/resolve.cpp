#include "config/resolve.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "config/presets.h"
#include "config/protocol.h"

namespace sinkscope {
namespace {

constexpr const char* kDefaultPreset = "full";

struct Chosen {
  std::string flag;  ///< empty: no source has any of them
  Given given;
};

/// Of settings that exclude one another the strongest source decides; two in one source contradict each other.
Chosen strongest(const std::vector<SettingSource>& sources, const std::string& exclusive) {
  for (const SettingSource& source : sources) {
    std::vector<Chosen> found;
    for (const Setting& setting : settings()) {
      const auto given = source.settings.find(long_flag(setting));
      if (setting.exclusive == exclusive && given != source.settings.end())
        found.push_back({given->first, given->second});
    }
    if (found.size() > 1)
      throw UsageError(
          fmt::format("{} and {} exclude each other; give one", found[0].given.where, found[1].given.where));
    if (!found.empty()) return found[0];
  }
  return {};
}

const Given* first_of(const std::vector<SettingSource>& sources, const std::string& flag) {
  for (const SettingSource& source : sources)
    if (const auto given = source.settings.find(flag); given != source.settings.end()) return &given->second;
  return nullptr;
}

/// `parameter`: whose value it is, where one variable sets several.
void note_use(const Given& given, std::vector<std::string>* notes, const std::string& parameter = "") {
  if (notes == nullptr || !given.where.starts_with("SINKSCOPE_")) return;
  notes->push_back(fmt::format("from the environment: {}{}{}={}", given.where, parameter.empty() ? "" : " ", parameter,
                               fmt::join(given.values, ",")));
}

void apply_settings(MeasureConfig& config, const std::vector<SettingSource>& sources, const std::vector<Group>& groups,
                    std::vector<std::string>* notes) {
  const std::string input = strongest(sources, "input").flag;
  for (const Setting& setting : settings()) {
    if (std::find(groups.begin(), groups.end(), setting.group) == groups.end() || setting.exclusive == "metrics")
      continue;
    const std::string flag = long_flag(setting);
    if (setting.exclusive == "input" && flag != input) continue;
    if (const Given* given = first_of(sources, flag)) {
      setting.set(config, *given);
      note_use(*given, notes);
    }
  }
}

Parameters parameters_of(const MetricSpec& spec, const std::vector<SettingSource>& sources,
                         std::vector<std::string>* notes) {
  Parameters parameters(spec.parameters);
  for (const Parameter& declared : spec.parameters) {
    const auto with = std::find_if(sources.begin(), sources.end(), [&](const SettingSource& source) {
      return source.parameters.contains({spec.name, declared.name});
    });
    if (with == sources.end()) continue;
    const Given& given = with->parameters.at({spec.name, declared.name});
    try {
      parameters.set(declared.name, parse_parameter(spec.name, declared, given.values.at(0)));
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", given.where, error.what()));
    }
    note_use(given, notes, spec.name + "." + declared.name);
  }
  return parameters;
}

std::vector<const MetricSpec*> named_metrics(const Given& given) {
  std::vector<const MetricSpec*> chosen;
  for (const std::string& name : given.values) {
    try {
      chosen.push_back(&find_metric(name));
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", given.where, error.what()));
    }
  }
  if (chosen.empty()) throw UsageError(fmt::format("{}: names no metric", given.where));
  return chosen;
}

/// In the order of all_metrics(), once each: the order of the flags decides nothing.
void select_metrics(MeasureConfig& config, std::vector<const MetricSpec*> chosen,
                    const std::vector<SettingSource>& sources, std::vector<std::string>* notes) {
  for (const MetricSpec& spec : all_metrics()) {
    if (std::find(chosen.begin(), chosen.end(), &spec) == chosen.end()) continue;
    config.metrics.push_back({&spec, parameters_of(spec, sources, notes)});
    const SelectedMetric& selected = config.metrics.back();
    spec.needs(selected.parameters);  // both refuse values out of range, here before
    spec.make(selected.parameters, RunShape{.common_length = kDrawnLength});  // libtorch is loaded
  }
}

/// Parameters of metrics that are not measured: a contradiction on the command line, worth a note in a file or a
/// variable, which may serve several runs.
void check_parameters_used(const MeasureConfig& config, const std::vector<SettingSource>& sources,
                           std::vector<std::string>* notes) {
  std::map<std::string, std::string> unused;  // by metric: where it is given first
  for (const SettingSource& source : sources)
    for (const auto& [name, given] : source.parameters) {
      const auto& [metric, parameter] = name;
      if (std::any_of(config.metrics.begin(), config.metrics.end(),
                      [&, &of = metric](const SelectedMetric& m) { return m.spec->name == of; }))
        continue;
      if (&source == &sources.front())
        throw UsageError(fmt::format("{} {}.{}: {} is not measured; add --metric {}", given.where, metric, parameter,
                                     metric, metric));
      unused.emplace(metric, given.where);
    }
  if (unused.empty() || notes == nullptr) return;
  std::vector<std::string> places;
  for (const auto& [metric, where] : unused) places.push_back(fmt::format("{} ({})", metric, where));
  notes->push_back(fmt::format("warning: these metrics are not measured, so their parameters are not used: {}",
                               fmt::join(places, ", ")));
}

void check_streaming(const MeasureConfig& config) {
  if (config.stream_weights && needs_of(config).jacobian)
    throw UsageError(
        "--stream-weights excludes the metric mixing_jacobian, which needs all parameters at once for its gradients");
}

}  // namespace

MeasureConfig resolve(const SettingSource& flags, const std::vector<Group>& groups, std::vector<std::string>* notes) {
  const bool what = std::find(groups.begin(), groups.end(), Group::what) != groups.end();
  std::vector<SettingSource> sources = {flags, from_environment(groups)};
  MeasureConfig config;
  if (what) {
    if (const Given* path = first_of(sources, "--config")) {
      sources.push_back(from_toml(read_config(path->values.at(0)), path->values.at(0)));
      note_use(*path, notes);
    }
    const Chosen chosen = strongest(sources, "metrics");
    std::vector<const MetricSpec*> metrics;
    std::optional<SettingSource> preset;
    if (!chosen.flag.empty()) note_use(chosen.given, notes);
    if (chosen.flag == "--metric") {
      metrics = named_metrics(chosen.given);
    } else {
      config.preset = chosen.flag.empty() ? kDefaultPreset : chosen.given.values.at(0);
      preset = read_preset(*config.preset, chosen.flag.empty() ? "--preset" : chosen.given.where);
      metrics = preset_metrics(*preset);
      sources.push_back(*preset);
    }
    select_metrics(config, metrics, sources, notes);
    check_parameters_used(config, sources, notes);
    apply_settings(config, sources, groups, notes);
    const Given* file = first_of(sources, "--config");
    if (file != nullptr) config.config = file->values.at(0);
    if (file != nullptr && file->values.at(0) == "-" && config.input.tokens == "-")
      throw UsageError("--config and --tokens both read stdin; give a file to one of them");
    if (preset) note_protocol(config, *preset);
    if (!preset && config.logits != Logits::all && needs_of(config).loss)
      throw UsageError("the metric loss needs --logits all");
  } else {
    apply_settings(config, sources, groups, notes);
  }
  check_streaming(config);
  if ((config.input.random_tokens || config.input.repeated_token) && !config.input.length)
    config.input.length = kDrawnLength;
  return config;
}

}  // namespace sinkscope
