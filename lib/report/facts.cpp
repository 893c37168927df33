#include "report/facts.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

std::string text_or(const Json& value, const char* otherwise) {
  return value.is_string() ? value.get<std::string>() : otherwise;
}

std::string of_all(std::int64_t count, std::int64_t all) {
  return count == all ? fmt::format("in all {}", all) : fmt::format("in {} of {}", count, all);
}

}  // namespace

std::string preset_words(const Json& report) {
  std::string preset = text_or(report["config"]["preset"], "");
  const Json& warnings = report["warnings"];
  if (std::any_of(warnings.begin(), warnings.end(), [](const Json& w) { return w["code"] == "protocol_deviation"; }))
    preset += "*";
  if (preset == "quick") preset += " (first keys only)";
  return preset;
}

std::string size_words(const Json& report) {
  const Json& input = report["input"];
  const Json &low = input["length"]["min"], &high = input["length"]["max"];
  const std::string lengths = low == high ? low.dump() : low.dump() + " to " + high.dump();
  const auto sequences = input["sequences"].get<std::int64_t>();
  return fmt::format("T = {}, N = {} sequence{} ({} {})", lengths, sequences, sequences == 1 ? "" : "s",
                     input["tokens"].dump(), input["source"] == "tensor" ? "positions" : "ids");
}

std::string position_0_words(const Json& report) {
  const Json& input = report["input"];
  const Json& ids = input["position_0_ids"];
  const Json& bos = input["bos"];
  const auto all = input["sequences"].get<std::int64_t>();
  if (ids.empty()) return "no token ids";
  const auto bos_text = bos["id"].is_number() ? bos["id"].dump() : "";
  const auto bos_count = bos["at_position_0"].get<std::int64_t>();
  if (!bos_text.empty() && bos_count > 0)
    return fmt::format("id {} (BOS) at position 0 {}", bos_text, of_all(bos_count, all));
  const std::string note =
      bos_text.empty() ? "nothing says which id is BOS" : fmt::format("not the BOS, which is {}", bos_text);
  std::pair<std::string, std::int64_t> most{"", 0};
  for (const auto& [id, count] : ids.items())
    if (count.get<std::int64_t>() > most.second) most = {id, count.get<std::int64_t>()};
  if (ids.size() == 1) return fmt::format("id {} at position 0 {} ({})", most.first, of_all(most.second, all), note);
  return fmt::format("{} different ids at position 0, most often {} ({} of {}; {})", ids.size(), most.first,
                     most.second, all, note);
}

std::string source_words(const Json& report) {
  const Json& input = report["input"];
  const std::string source = text_or(input["source"], "");
  const std::string path = text_or(input["path"], "");
  if (source == "tokens") return path == "-" ? "token ids from stdin" : "token ids from " + path;
  if (source == "samples") return "the sample sequences of the model file";
  if (source == "random")
    return fmt::format("uniformly random ids (vocabulary {}, seed {})", input["vocabulary"].dump(),
                       input["seed"].dump());
  if (source == "repeated")
    return fmt::format("one random id repeated in each sequence (vocabulary {}, seed {})", input["vocabulary"].dump(),
                       input["seed"].dump());
  return path.empty() ? source : "numbers from " + path;
}

std::string parameter_words(const Json& metric) {
  std::vector<std::string> words;
  for (const auto& [name, value] : metric["parameters"].items())
    words.push_back(fmt::format("{} = {}", name, value.is_string() ? value.get<std::string>() : value.dump()));
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace sinkscope
