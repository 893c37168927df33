#include "accumulate/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/random.h"

namespace sinkscope {
namespace {

/// Linear interpolation between the order statistics, the default of numpy. `sorted` is not empty, 0 <= p <= 1.
double quantile(const std::vector<double>& sorted, double p) {
  const double position = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

}  // namespace

Interval bootstrap(std::size_t sequences, const std::function<std::optional<double>(const Draws&)>& statistic) {
  if (sequences < 2) return std::nullopt;
  SplitMix64 random(kBootstrapSeed);
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(kBootstrapResamples));
  Draws draws(sequences);
  for (std::int64_t resample = 0; resample < kBootstrapResamples; ++resample) {
    std::fill(draws.begin(), draws.end(), 0);
    for (std::size_t i = 0; i < sequences; ++i) ++draws[static_cast<std::size_t>(random.below(sequences))];
    if (const std::optional<double> value = statistic(draws)) values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return std::array<double, 2>{quantile(values, 0.025), quantile(values, 0.975)};
}

Interval bootstrap_mean(const std::vector<Mean>& sequences) {
  std::vector<Mean> present;
  for (const Mean& mean : sequences)
    if (mean.count > 0) present.push_back(mean);
  return bootstrap(present.size(), [&](const Draws& draws) {
    Mean total;
    for (std::size_t i = 0; i < present.size(); ++i) {
      total.sum += static_cast<double>(draws[i]) * present[i].sum;
      total.count += draws[i] * present[i].count;
    }
    return total.value();
  });
}

}  // namespace sinkscope
