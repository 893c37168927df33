// sinkscope bench, the part that runs the model.
#include "run_bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/print.h"
#include "measure/bench.h"
#include "measure/instrument.h"
#include "measure/provenance.h"
#include "report/report.h"

namespace sinkscope {
namespace {

using nlohmann::ordered_json;

ordered_json json_of(const Timing& timing) {
  return {
      {"seconds",
       {{"min", *std::min_element(timing.seconds.begin(), timing.seconds.end())}, {"median", median(timing.seconds)}}},
      {"peak_memory_bytes", timing.peak_memory_bytes}};
}

ordered_json json_of(const InstrumentedModel& model, const Input& input, const BenchResult& result) {
  ordered_json json{{"sequences", input.sequences.size()}, {"length", common_length(input.sequences)},
                    {"device", model.device.str()},        {"dtype", model.loaded.dtype},
                    {"plain", json_of(result.plain)},      {"presets", ordered_json::object()}};
  for (const PresetCost& preset : result.presets) {
    ordered_json entry = json_of(preset.timing);
    entry["ratio_to_plain"] = preset.ratio_to_plain;
    entry["passes"] = preset.passes;
    json["presets"][preset.name] = entry;
  }
  json["attention"] = nullptr;
  if (result.attention)
    json["attention"] = {{"share_of_plain", result.attention->share_of_plain},
                         {"fused_pass_ratio", result.attention->fused_pass_ratio}};
  return json;
}

std::string text_of(const ordered_json& json) {
  std::string text = fmt::format("{} sequences of length {}, {}, {}\n\n{:<8} {:>12} {:>12} {:>10} {:>12}\n",
                                 json["sequences"].dump(), json["length"].dump(), json["device"].get<std::string>(),
                                 json["dtype"].get<std::string>(), "", "min s", "median s", "/ plain", "peak MB");
  const auto line = [&](const std::string& name, const ordered_json& entry, const std::string& ratio) {
    text +=
        fmt::format("{:<8} {:>12.4f} {:>12.4f} {:>10} {:>12.1f}\n", name, entry["seconds"]["min"].get<double>(),
                    entry["seconds"]["median"].get<double>(), ratio, entry["peak_memory_bytes"].get<double>() / 1e6);
  };
  line("plain", json["plain"], "1");
  for (const auto& [name, entry] : json["presets"].items())
    line(name, entry, fmt::format("{:.3f}", entry["ratio_to_plain"].get<double>()));
  if (!json["attention"].is_null())
    text += fmt::format(
        "\nattention: {:.2f} of the plain run; the pass over all keys takes {:.2f} of the attention forward\n",
        json["attention"]["share_of_plain"].get<double>(), json["attention"]["fused_pass_ratio"].get<double>());
  return text;
}

}  // namespace

Exit run_bench(const BenchConfig& config) {
  set_threads(config.settings);
  const InstrumentedModel model = instrument(config.settings);
  const Input input = build_input(config.settings.input, facts_of(model));
  const ordered_json json = json_of(model, input, bench(model, input, config.presets, config.runs));
  const std::string text = config.settings.json ? dump(json) : text_of(json);
  print(text);
  return Exit::ok;
}

}  // namespace sinkscope
