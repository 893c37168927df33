#include "metric/parameters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <type_traits>

#include "base/error.h"
#include "base/nearest_name.h"

namespace sinkscope {
namespace {

template <class T>
struct ElementOf {};
template <class T>
struct ElementOf<std::vector<T>> {
  using type = T;
};

template <class T>
constexpr bool is_list = !std::is_arithmetic_v<T> && !std::is_same_v<T, std::string>;

const char* form_of(const ParameterValue& value) {
  static constexpr const char* forms[] = {"true or false",          "a whole number",     "a number",      "text",
                                          "whole numbers as 1,2,3", "numbers as 0.1,0.2", "names as a,b,c"};
  return forms[value.index()];
}

/// Empty if the whole of `text` is not one finite T.
template <class T>
std::optional<T> parsed(const std::string& text) {
  if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text == "true") return true;
    if (text == "false") return false;
    return std::nullopt;
  } else if constexpr (is_list<T>) {
    T list;
    if (text.empty()) return list;
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t comma = std::min(text.find(',', begin), text.size());
      auto element = parsed<typename ElementOf<T>::type>(text.substr(begin, comma - begin));
      if (!element) return std::nullopt;
      list.push_back(*std::move(element));
      begin = comma + 1;
    }
    return list;
  } else {
    T number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    if constexpr (std::is_same_v<T, double>)
      if (!std::isfinite(number)) return std::nullopt;
    return number;
  }
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// `value` as the type of `declared` where nothing is lost: a whole number as a decimal one, an empty list as any list.
ParameterValue converted(const ParameterValue& declared, ParameterValue value) {
  if (value.index() == declared.index()) return value;
  if (const auto* whole = std::get_if<std::int64_t>(&value); whole && std::holds_alternative<double>(declared))
    return static_cast<double>(*whole);
  const bool empty_list = std::visit(
      [](const auto& v) {
        if constexpr (is_list<std::decay_t<decltype(v)>>) return v.empty();
        return false;
      },
      value);
  if (const auto* whole = std::get_if<std::vector<std::int64_t>>(&value);
      whole && std::holds_alternative<std::vector<double>>(declared))
    return std::vector<double>(whole->begin(), whole->end());
  if (empty_list && std::holds_alternative<std::vector<std::int64_t>>(declared)) return std::vector<std::int64_t>{};
  if (empty_list && std::holds_alternative<std::vector<double>>(declared)) return std::vector<double>{};
  if (empty_list && std::holds_alternative<std::vector<std::string>>(declared)) return std::vector<std::string>{};
  return value;
}

}  // namespace

const ParameterValue& Parameters::at(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& [declared, value] : values_) {
    if (declared == name) return value;
    names.push_back(declared);
  }
  throw UsageError(names.empty()
                       ? "no parameter '" + name + "': this metric has none"
                       : "no parameter '" + name + "'" + did_you_mean(name, names) + " Parameters: " + listed(names));
}

void Parameters::set(const std::string& name, ParameterValue value) {
  for (auto& [declared_name, declared] : values_) {
    if (declared_name != name) continue;
    value = converted(declared, std::move(value));
    if (value.index() != declared.index())
      throw UsageError("parameter '" + name + "' must be " + form_of(declared) + ", not " + form_of(value));
    declared = std::move(value);
    return;
  }
  at(name);  // throws: not declared
}

ParameterValue parse_parameter(const std::string& metric, const Parameter& declared, const std::string& given) {
  // A list may be written as in TOML and JSON.
  const bool bracketed = given.size() >= 2 && given.front() == '[' && given.back() == ']';
  const std::string text = bracketed ? given.substr(1, given.size() - 2) : given;
  ParameterValue value = std::visit(
      [&](const auto& kind) -> ParameterValue {
        if (auto result = parsed<std::decay_t<decltype(kind)>>(text)) return *std::move(result);
        throw UsageError(metric + "." + declared.name + ": expects " + form_of(declared.value) + ", not '" + given +
                         "'");
      },
      declared.value);
  check_choices(metric, declared, value);
  return value;
}

void check_choices(const std::string& metric, const Parameter& declared, const ParameterValue& value) {
  if (declared.choices.empty()) return;
  std::vector<std::string> chosen;
  if (const auto* one = std::get_if<std::string>(&value)) chosen = {*one};
  if (const auto* many = std::get_if<std::vector<std::string>>(&value)) chosen = *many;
  for (const std::string& name : chosen) {
    if (std::find(declared.choices.begin(), declared.choices.end(), name) != declared.choices.end()) continue;
    throw UsageError(metric + "." + declared.name + ": no choice '" + name + "'" +
                     did_you_mean(name, declared.choices) + " Choices: " + listed(declared.choices));
  }
}

void require_parameter(bool ok, const std::string& metric, const std::string& parameter,
                       const std::string& requirement) {
  if (!ok) throw UsageError(metric + "." + parameter + ": must be " + requirement);
}

}  // namespace sinkscope
