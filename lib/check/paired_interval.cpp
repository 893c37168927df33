#include "accumulate/bootstrap.h"
#include "check/compare.h"

namespace sinkscope {

std::optional<std::array<double, 2>> paired_interval(const std::vector<std::optional<double>>& old_values,
                                                     const std::vector<std::optional<double>>& new_values) {
  if (old_values.size() != new_values.size()) return std::nullopt;
  std::vector<Mean> differences;
  for (std::size_t i = 0; i < old_values.size(); ++i)
    if (old_values[i] && new_values[i]) differences.push_back({.sum = *new_values[i] - *old_values[i], .count = 1});
  return bootstrap_mean(differences);
}

}  // namespace sinkscope
