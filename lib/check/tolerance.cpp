#include "check/tolerance.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "metric/metric.h"

namespace sinkscope {
namespace {

constexpr double kAbsoluteFrom = 0.1;  // see Tolerance in metric/metric.h

}  // namespace

double Allowance::at(double old_value) const {
  const double size = std::abs(old_value);
  const double share = relative.value_or(0) * size;
  if (!absolute) return share;
  if (!relative) return *absolute;
  if (by_size) return size >= kAbsoluteFrom ? *absolute : share;
  return std::max(*absolute, share);
}

std::string Allowance::words() const {
  std::string text;
  if (absolute) text = fmt::format("{:.4g}", *absolute);
  if (relative) text += fmt::format("{}{:.4g} %", absolute ? " or " : "", *relative * 100);
  return text;
}

Allowance parse_allowance(const std::string& text, const std::string& where) {
  std::string_view digits = text;
  const bool percent = digits.ends_with('%');
  if (percent) digits.remove_suffix(1);
  while (digits.ends_with(' ')) digits.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty() || !std::isfinite(value) ||
      value < 0)
    throw UsageError(
        fmt::format("{}: expects a tolerance such as 0.02 (absolute) or 5% (of the old value), not '{}'", where, text));
  if (percent) return {.absolute = {}, .relative = value / 100};
  return {.absolute = value, .relative = {}};
}

Allowance default_allowance(const Quantity& quantity) {
  for (const MetricSpec& spec : all_metrics())
    if (spec.name == quantity.metric && !quantity.other_unit)
      return {
          .absolute = spec.default_tolerance.absolute, .relative = spec.default_tolerance.relative, .by_size = true};
  return {.absolute = {}, .relative = 0.05};
}

bool exceeds(double change, double tolerance, double old_value, double new_value) {
  const double size = std::abs(change);
  if (tolerance == 0) return size > 0;
  // 0.61 - 0.59 is 0.020000000000000018.
  const double rounding =
      8 * std::numeric_limits<double>::epsilon() * std::max(std::abs(old_value), std::abs(new_value));
  return size > tolerance + rounding;
}

TwoNumbers told_apart(double first, double second) {
  TwoNumbers texts;
  for (int digits = 4; digits <= 17; ++digits) {
    texts = {fmt::format("{:.{}g}", first, digits), fmt::format("{:.{}g}", second, digits)};
    if (first == second || texts.first != texts.second) break;
  }
  return texts;
}

std::string change_words(double old_value, double new_value, double tolerance) {
  const TwoNumbers values = told_apart(old_value, new_value);
  const double change = new_value - old_value;
  std::string change_text, tolerance_text;
  for (int digits = 3; digits <= 17; ++digits) {
    change_text = fmt::format("{:+.{}g}", change, digits);
    tolerance_text = fmt::format("{:.{}g}", tolerance, digits);
    if (fmt::format("{:.{}g}", std::abs(change), digits) != tolerance_text ||
        !exceeds(change, tolerance, old_value, new_value))
      break;
  }
  return fmt::format("{} -> {}, change {}, tolerance {}", values.first, values.second, change == 0 ? "0" : change_text,
                     tolerance_text);
}

}  // namespace sinkscope
