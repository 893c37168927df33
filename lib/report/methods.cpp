#include <fmt/core.h>
#include <fmt/ranges.h>

#include "report/facts.h"
#include "report/render.h"
#include "report/text.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

std::string sentence_about_model(const Json& report) {
  const Json &model = report["model"], &settings = report["settings"];
  std::string text =
      fmt::format("We measured {} ({} parameters, TorchScript file SHA-256 {}", model["path"].get<std::string>(),
                  model["parameters"].dump(), model["sha256"].get<std::string>());
  if (const Json& weights = model["weights"]; weights.is_object())
    text += fmt::format("; weights {}, SHA-256 {}", weights["path"].get<std::string>(),
                        weights["sha256"].get<std::string>());
  const Json& tool = report["tool"];
  text += fmt::format(") in {} on {} with sinkscope {} (commit {}, libtorch {}", settings["dtype"].get<std::string>(),
                      settings["device"].get<std::string>(), tool["version"].get<std::string>(),
                      tool["commit"].get<std::string>(), settings["torch"].get<std::string>());
  if (settings["cuda"].is_string()) text += fmt::format(", CUDA {}", settings["cuda"].get<std::string>());
  return text + ").";
}

std::string sentence_about_input(const Json& report) {
  const Json& input = report["input"];
  std::string text = fmt::format("The input was {}: {}, {}; no padding; BOS policy {}; SHA-256 of the ids {}.",
                                 source_words(report), size_words(report), position_0_words(report),
                                 input["bos"]["policy"].get<std::string>(), input["sha256"].get<std::string>());
  for (const char* part : {"tokenizer", "corpus"})
    if (const Json& named = input.contains(part) ? input[part] : Json(); named.is_object())
      text += fmt::format(" {}{}: {} (SHA-256 {}).", static_cast<char>(std::toupper(part[0])), part + 1,
                          named["name"].is_string() ? named["name"].get<std::string>() : "unnamed",
                          named["sha256"].is_string() ? named["sha256"].get<std::string>() : "unknown");
  return text;
}

std::string sentence_about(const std::string& name, const Json& metric) {
  std::string text = fmt::format("{} (definition version {}; {}) is the {}", name, metric["definition_version"].dump(),
                                 metric["source"].get<std::string>(), metric["definition"].get<std::string>());
  if (const std::string parameters = parameter_words(metric); !parameters.empty())
    text += fmt::format(", with {}", parameters);
  if (!metric["value"].is_number()) return text + "; it was undefined here.";
  text += fmt::format(": {} {}", short_number(metric["value"]), metric["unit"].get<std::string>());
  if (metric["ci95"].is_array()) text += fmt::format(", 95 % interval {}", short_interval(metric["ci95"]));
  if (metric["uniform"].is_number())
    text += fmt::format("; uniform attention would give {}", short_number(metric["uniform"]));
  text += fmt::format(" (n = {} {}", metric["count"].dump(), metric["count_of"].get<std::string>());
  if (metric["rejected"] != 0) text += fmt::format("; {} rejected", metric["rejected"].dump());
  return text + ").";
}

}  // namespace

std::string render_methods(const Json& report, const TableOptions& options) {
  std::string text = sentence_about_model(report) + " " + sentence_about_input(report);
  if (const std::string preset = preset_words(report); !preset.empty()) text += fmt::format(" Preset: {}.", preset);
  bool interval = false;
  for (const std::string& name : metric_names(report, options.metrics)) {
    text += " " + sentence_about(name, report["metrics"][name]);
    interval |= report["metrics"][name]["ci95"].is_array();
  }
  const Json& settings = report["settings"];
  if (interval && settings.contains("bootstrap"))
    text += fmt::format(" Intervals are percentile bootstrap intervals over sequences ({} resamples, seed {}).",
                        settings["bootstrap"]["resamples"].dump(), settings["bootstrap"]["seed"].dump());
  text += fmt::format(" Configuration SHA-256 {}.", report["config"]["sha256"].get<std::string>());
  if (!report["complete"].get<bool>())
    text += " The run was interrupted; the values rest on the part that was finished.";
  for (const Json& warning : report["warnings"])
    text += fmt::format(" Note ({}): {}.", warning["code"].get<std::string>(), warning["message"].get<std::string>());
  std::string lines;
  for (const std::string& part : wrapped(text, std::max<std::size_t>(options.width, 40), 9999)) lines += part + "\n";
  return lines;
}

}  // namespace sinkscope
