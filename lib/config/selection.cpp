#include "config/selection.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/error.h"

namespace sinkscope {
namespace {

bool read_number(std::string_view& text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

LayerSelection LayerSelection::parse(const std::string& text) {
  LayerSelection selection;
  std::string_view rest = text;
  for (;;) {
    std::int64_t first = 0;
    bool good = read_number(rest, first);
    std::int64_t last = first;
    if (good && rest.starts_with('-')) {
      rest.remove_prefix(1);
      good = read_number(rest, last) && last >= first;
    }
    if (good) selection.ranges_.emplace_back(first, last);
    if (good && rest.empty()) return selection;
    if (!good || !rest.starts_with(','))
      throw UsageError(fmt::format("expects layers and ranges of layers from 0, like 0-7,12, not '{}'", text));
    rest.remove_prefix(1);
  }
}

bool LayerSelection::contains(std::optional<std::int64_t> layer) const {
  return layer && std::any_of(ranges_.begin(), ranges_.end(),
                              [&](const auto& range) { return range.first <= *layer && *layer <= range.second; });
}

bool glob_matches(const std::string& pattern, const std::string& text) {
  return fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
}

}  // namespace sinkscope
