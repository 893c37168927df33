#include "config/setting_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/error.h"
#include "config/selection.h"

namespace sinkscope::values {
namespace {

std::optional<std::int64_t> to_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

const std::string& only(const Given& given) {
  if (given.values.size() != 1 || given.values[0].empty())
    throw UsageError(fmt::format("{}: expects one value", given.where));
  return given.values[0];
}

std::int64_t integer(const Given& given, std::int64_t least, std::int64_t most) {
  const std::string& text = only(given);
  const auto value = to_integer(text);
  if (!value) throw UsageError(fmt::format("{}: expects a whole number, not '{}'", given.where, text));
  if (*value < least) throw UsageError(fmt::format("{}: expects at least {}, not {}", given.where, least, text));
  if (*value > most) throw UsageError(fmt::format("{}: expects at most {}, not {}", given.where, most, text));
  return *value;
}

bool truth(const Given& given) {
  std::string text = only(given);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  if (text == "true" || text == "1" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "0" || text == "no" || text == "off") return false;
  throw UsageError(fmt::format("{}: expects true or false, not '{}'", given.where, only(given)));
}

std::string bos(const Given& given) {
  const std::string& text = only(given);
  if (text == "auto" || text == "keep" || text == "none") return text;
  const auto id = to_integer(text);
  if (!id || *id < 0)
    throw UsageError(fmt::format("{}: expects auto, keep, none or a token id, not '{}'", given.where, text));
  return fmt::to_string(*id);
}

std::string layers(const Given& given) {
  const std::string& text = only(given);
  try {
    LayerSelection::parse(text);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", given.where, error.what()));
  }
  return text;
}

std::vector<std::pair<std::string, std::string>> labels(const Given& given) {
  std::vector<std::pair<std::string, std::string>> labels;
  for (const std::string& text : given.values) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError(fmt::format("{}: expects NAME=VALUE, not '{}'", given.where, text));
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    const auto same = std::find_if(labels.begin(), labels.end(), [&](const auto& l) { return l.first == name; });
    if (same != labels.end()) {
      same->second = value;
    } else {
      labels.emplace_back(name, value);
    }
  }
  return labels;
}

void device(MeasureConfig& config, const Given& given) {
  const std::string& text = only(given);
  config.device_index = 0;
  if (text == "auto") {
    config.device = Device::automatic;
  } else if (text == "cpu") {
    config.device = Device::cpu;
  } else if (text == "cuda") {
    config.device = Device::cuda;
  } else {
    const auto index = text.starts_with("cuda:") ? to_integer(std::string_view(text).substr(5)) : std::nullopt;
    if (!index || *index < 0 || *index > 127)  // c10::DeviceIndex has 8 bits
      throw UsageError(fmt::format("{}: expects auto, cpu, cuda or cuda:N, not '{}'", given.where, text));
    config.device = Device::cuda;
    config.device_index = static_cast<int>(*index);
  }
}

std::vector<std::string> device_text(const MeasureConfig& config) {
  if (config.device == Device::automatic) return {"auto"};
  if (config.device == Device::cpu) return {"cpu"};
  return {fmt::format("cuda:{}", config.device_index)};
}

int choice(const Given& given, const std::vector<std::string>& names) {
  const std::string& text = only(given);
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end())
    throw UsageError(fmt::format("{}: expects one of {}, not '{}'", given.where, fmt::join(names, ", "), text));
  return static_cast<int>(found - names.begin());
}

}  // namespace sinkscope::values
