#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "files/tokens.h"

namespace sinkscope {
namespace {

using nlohmann::json;

constexpr const char* kForms = "[1,2,3], {\"ids\":[...]} or {\"input_ids\":[...],\"attention_mask\":[...]}";

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() > 40 ? text.substr(0, 37) + "..." : text;
}

std::vector<std::int64_t> ids_of(const json& list, const std::string& where) {
  if (!list.is_array()) throw InputError(fmt::format("{}: {} is no list of ids", where, shown(list)));
  std::vector<std::int64_t> ids;
  ids.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json& value = list[i];
    const auto fail = [&](const char* what) {
      throw InputError(fmt::format("{}: id {} at position {} {}", where, shown(value), i, what));
    };
    if (value.is_array()) fail("is a list; write one sequence a line");
    // JSON integers beyond 64 bits arrive as floating point.
    const bool huge = (value.is_number_float() && std::abs(value.get<double>()) >= 0x1p63) ||
                      (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX);
    if (huge) fail("is too large for a token id");
    if (!value.is_number_integer()) fail("is not an integer");
    if (value.get<std::int64_t>() < 0) fail("is negative");
    ids.push_back(value.get<std::int64_t>());
  }
  return ids;
}

std::vector<std::int64_t> mask_of(const json& list, const std::string& where) {
  std::vector<std::int64_t> mask;
  for (const json& value : list.is_array() ? list : json::array({-1})) {
    const std::int64_t flag = value.is_boolean()          ? static_cast<std::int64_t>(value.get<bool>())
                              : value.is_number_integer() ? value.get<std::int64_t>()
                                                          : -1;
    if (flag != 0 && flag != 1) throw InputError(fmt::format("{}: attention_mask must be a list of 0 and 1", where));
    mask.push_back(flag);
  }
  return mask;
}

/// Sets `masked` where the line carries a mask.
std::vector<std::int64_t> parse_line(std::string_view line, const std::string& where, bool& masked) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos)
    throw InputError(fmt::format("{}: an empty line; every line is one sequence: {}", where, kForms));
  std::set<std::string> keys;
  std::string twice;
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& key) {
    if (depth == 1 && event == json::parse_event_t::key && !keys.insert(key.get<std::string>()).second) twice = key;
    return true;
  };
  const bool ends_early = line.find('\0') != std::string_view::npos;  // the parser would stop there
  const json value = ends_early ? json(json::value_t::discarded) : json::parse(line, watch, /*allow_exceptions=*/false);
  if (!twice.empty()) throw InputError(fmt::format("{}: has the key {} twice", where, shown(twice)));
  if (value.is_discarded())
    throw InputError(
        fmt::format("{}: not JSON; every line is one sequence of token ids: {}. "
                    "scripts/tokenize_hf.py makes such a file from text.",
                    where, kForms));
  if (value.is_array()) return ids_of(value, where);
  const bool plain = value.is_object() && value.contains("ids");
  const bool transformers = value.is_object() && value.contains("input_ids");
  if (plain == transformers)
    throw InputError(fmt::format("{}: {}; write {}", where, plain ? "both ids and input_ids" : "no token ids", kForms));
  std::vector<std::int64_t> ids = ids_of(value[plain ? "ids" : "input_ids"], where);
  if (!value.contains("attention_mask")) return ids;
  masked = true;
  return without_padding(ids, mask_of(value["attention_mask"], where), where);
}

}  // namespace

std::vector<TokenRow> parse_jsonl_tokens(std::string_view text, const std::string& name,
                                         std::optional<std::int64_t> limit, bool& masked) {
  std::vector<TokenRow> rows;
  for (std::int64_t number = 1; !text.empty() && (!limit || std::ssize(rows) < *limit); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    TokenRow row{.ids = {}, .where = fmt::format("{}: line {}", name, number)};
    row.ids = parse_line(line, row.where, masked);
    if (row.ids.empty()) throw InputError(fmt::format("{}: an empty sequence", row.where));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace sinkscope
