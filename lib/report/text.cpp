#include "report/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace sinkscope {
namespace {

std::string colored(const char* code, const std::string& text, bool on) {
  return on ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

/// Characters, not bytes: continuation bytes of UTF-8 take no column.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string short_number(const nlohmann::ordered_json& value) {
  if (!value.is_number()) return "-";
  const double x = value.get<double>();
  const double size = std::abs(x);
  std::string text = size >= 1000 && size < 1e6 ? fmt::format("{:.0f}", x) : fmt::format("{:.3g}", x);
  if (text.starts_with("0.")) text.erase(0, 1);
  if (text.starts_with("-0.")) text.erase(1, 1);
  return text;
}

std::string short_interval(const nlohmann::ordered_json& interval) {
  if (!interval.is_array() || interval.size() != 2) return "-";
  return fmt::format("[{}, {}]", short_number(interval[0]), short_number(interval[1]));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width, std::size_t lines) {
  std::vector<std::string> result(1);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    std::string& line = result.back();
    if (line.empty()) {
      line = word;
    } else if (columns(line) + 1 + columns(word) <= width) {
      line += ' ';
      line += word;
    } else if (result.size() == lines) {
      while (columns(line) + 4 > width && line.find(' ') != std::string::npos) line.erase(line.rfind(' '));
      line += " ...";
      return result;
    } else {
      result.emplace_back(word);
    }
  }
  return result;
}

std::string aligned(const std::vector<std::vector<std::string>>& table, const std::vector<bool>& right,
                    std::string_view indent, std::size_t gap) {
  std::vector<std::size_t> widths(right.size(), 0);
  for (const auto& row : table)
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  std::string text;
  for (const auto& row : table) {
    std::string line(indent);
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      const std::string pad(widths[i] - columns(row[i]), ' ');
      line += std::string(i > 0 ? gap : 0, ' ') + (right[i] ? pad + row[i] : row[i] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string bold(const std::string& text, bool on) { return colored("1", text, on); }
std::string yellow(const std::string& text, bool on) { return colored("33", text, on); }
std::string dim(const std::string& text, bool on) { return colored("2", text, on); }

}  // namespace sinkscope
