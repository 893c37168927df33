#include <algorithm>

#include "report/report.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kOnError = Json::error_handler_t::replace;  // paths need not be UTF-8

bool is_flat(const Json& value) {
  return std::none_of(value.begin(), value.end(),
                      [](const Json& element) { return element.is_structured() && !element.empty(); });
}

/// A table row (a head list, a site) reads better on one line than on thirty.
bool on_one_line(const Json& value, bool inside_array) {
  return !value.is_structured() || value.empty() || (is_flat(value) && (value.is_array() || inside_array));
}

void append(std::string& text, const Json& value, std::size_t indent, bool inside_array) {
  if (on_one_line(value, inside_array)) {
    text += value.dump(-1, ' ', false, kOnError);
    return;
  }
  const std::string pad(indent + 1, ' ');
  const char open = value.is_object() ? '{' : '[', close = value.is_object() ? '}' : ']';
  text += open;
  for (auto entry = value.begin(); entry != value.end(); ++entry) {
    text += entry == value.begin() ? "\n" : ",\n";
    text += pad;
    if (value.is_object()) text += Json(entry.key()).dump(-1, ' ', false, kOnError) + ": ";
    append(text, *entry, indent + 1, value.is_array());
  }
  text += "\n" + std::string(indent, ' ') + close;
}

}  // namespace

std::string dump(const Json& report) {
  std::string text;
  append(text, report, 0, false);
  return text + "\n";
}

}  // namespace sinkscope
