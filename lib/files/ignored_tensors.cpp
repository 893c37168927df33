#include "files/ignored_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace sinkscope {
namespace {

/// std::regex matches by recursion, one level a character: what a file holds must not exhaust the stack.
constexpr std::size_t kLongest = 1000;

}  // namespace

IgnoredTensors::IgnoredTensors(const nlohmann::ordered_json& patterns) {
  if (!patterns.is_array()) throw InputError("ignored_tensors: not a list of regular expressions");
  for (const auto& pattern : patterns) {
    const std::string text = pattern.is_string() ? pattern.get<std::string>() : pattern.dump();
    try {
      if (!pattern.is_string() || text.size() > kLongest)
        throw std::regex_error(std::regex_constants::error_complexity);
      patterns_.emplace_back(text, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error&) {
      throw InputError(fmt::format("ignored_tensors: not a regular expression: {:.{}}", text, kLongest));
    }
  }
}

bool IgnoredTensors::contains(const std::string& name) const {
  return name.size() <= kLongest && std::any_of(patterns_.begin(), patterns_.end(), [&](const std::regex& pattern) {
           return std::regex_search(name, pattern);
         });
}

}  // namespace sinkscope
