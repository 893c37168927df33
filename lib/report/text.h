#pragma once
// Numbers and lines as people read them.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sinkscope {

/// Three significant digits, no zero before the point (.0741, 12.5, 3112, 1.2e-05); null: "-".
std::string short_number(const nlohmann::ordered_json& value);

/// "[.58, .64]"; null: "-".
std::string short_interval(const nlohmann::ordered_json& interval);

/// Breaks at spaces so that no line is longer than `width` (a longer word stays whole); at most `lines` lines, the last
/// then ends in "...".
std::vector<std::string> wrapped(std::string_view text, std::size_t width, std::size_t lines);

/// Columns padded to their widest cell, `gap` spaces apart; numbers are right-aligned where `right` says so. No line
/// ends in a space. Cells of `table` may be fewer than columns.
std::string aligned(const std::vector<std::vector<std::string>>& table, const std::vector<bool>& right,
                    std::string_view indent = "", std::size_t gap = 2);

/// ANSI colour when `on`.
std::string bold(const std::string& text, bool on);
std::string yellow(const std::string& text, bool on);
std::string dim(const std::string& text, bool on);

}  // namespace sinkscope
