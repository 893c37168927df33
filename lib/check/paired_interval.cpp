#include "accumulate/bootstrap.h"
#include "check/compare.h"
#include "check/values.h"

namespace sinkscope {

std::optional<std::array<double, 2>> paired_interval(const std::vector<std::optional<double>>& old_values,
                                                     const std::vector<std::optional<double>>& new_values) {
  if (old_values.size() != new_values.size()) return std::nullopt;
  std::vector<Mean> differences;
  for (std::size_t i = 0; i < old_values.size(); ++i)
    if (old_values[i] && new_values[i]) differences.push_back({.sum = *new_values[i] - *old_values[i], .count = 1});
  return bootstrap_mean(differences);
}

std::optional<std::array<double, 2>> change_interval(const std::vector<const nlohmann::ordered_json*>& baselines,
                                                     const nlohmann::ordered_json& fresh, const std::string& metric) {
  const auto values_of = [&](const nlohmann::ordered_json& report) {
    std::vector<std::optional<double>> values;
    for (const Leaf& leaf : leaves_of(report, {metric, "per_sequence"})) values.push_back(leaf.value);
    return values;
  };
  std::vector<std::optional<double>> means = values_of(*baselines.front());
  for (std::size_t b = 1; b < baselines.size(); ++b) {
    const auto more = values_of(*baselines[b]);
    if (more.size() != means.size()) return std::nullopt;
    for (std::size_t i = 0; i < means.size(); ++i)
      means[i] = means[i] && more[i] ? std::optional(*means[i] + *more[i]) : std::nullopt;
  }
  for (std::optional<double>& value : means)
    if (value) *value /= static_cast<double>(baselines.size());
  return paired_interval(means, values_of(fresh));
}

}  // namespace sinkscope
