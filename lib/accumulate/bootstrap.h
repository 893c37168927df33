#pragma once
// Percentile bootstrap over sequences: the 95 % interval of a headline. Sequences are drawn, not samples, because heads
// of one sequence are not independent.

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "accumulate/mean.h"

namespace sinkscope {

/// Both are recorded in the report. More resamples: a steadier interval (at 2000 the ends move by about 3 % of its
/// width), more time.
inline constexpr std::int64_t kBootstrapResamples = 2000;
inline constexpr std::uint64_t kBootstrapSeed = 20250101;

/// [low, high]; empty for fewer than two sequences.
using Interval = std::optional<std::array<double, 2>>;

/// How often each sequence was drawn, [sequences]; the draws sum to the number of sequences.
using Draws = std::vector<std::int64_t>;

/// 2.5 % and 97.5 % quantiles (linear interpolation) of `statistic` over resamples with replacement. Resamples in which
/// the statistic is undefined are left out. The draws depend on `sequences` alone. Cost: resamples x (sequences +
/// statistic).
Interval bootstrap(std::size_t sequences, const std::function<std::optional<double>(const Draws&)>& statistic);

/// The interval of (sum of sums) / (sum of counts). Sequences without a sample take no part.
Interval bootstrap_mean(const std::vector<Mean>& sequences);

}  // namespace sinkscope
