#include "report/benchmark_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/facts.h"

namespace sinkscope {

void add_benchmarks(Benchmarks& benchmarks, const nlohmann::ordered_json& report, const std::string& prefix) {
  for (const auto& [metric, content] : report["metrics"].items()) {
    const std::string name = prefix.empty() ? metric : prefix + "/" + metric;
    if (!content["value"].is_number()) {
      benchmarks.without_value.push_back(name);
      continue;
    }
    nlohmann::ordered_json entry = {{"name", name}, {"unit", content["unit"]}, {"value", content["value"]}};
    if (const auto& interval = content["ci95"];
        interval.is_array() && interval[0].is_number() && interval[1].is_number())
      entry["range"] = fmt::format("{:.4g} to {:.4g}", interval[0].get<double>(), interval[1].get<double>());
    std::string extra = fmt::format("definition version {}", content["definition_version"].dump());
    if (const std::string parameters = parameter_words(content); !parameters.empty()) extra += "; " + parameters;
    entry["extra"] =
        fmt::format("{}; {}; {}", extra, size_words(report), report["settings"]["dtype"].get<std::string>());
    benchmarks.entries.push_back(std::move(entry));
  }
}

std::string left_out_words(const Benchmarks& benchmarks) {
  if (benchmarks.without_value.empty()) return "";
  return fmt::format("without a value, so not in the benchmark JSON: {}", fmt::join(benchmarks.without_value, ", "));
}

}  // namespace sinkscope
