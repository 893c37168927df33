#pragma once
// The mean as a mergeable value. A sum of doubles and a count: the share of an indicator is then exact, and two halves
// merge to the whole. (A variance would need Welford / Chan; no metric reports one, the intervals are bootstrapped.)

#include <cstdint>
#include <optional>

namespace sinkscope {

/// sum / count; empty, never 0, where there is nothing to divide by.
inline std::optional<double> quotient(double sum, std::int64_t count) {
  if (count <= 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

struct Mean {
  double sum = 0;
  std::int64_t count = 0;

  void add(double x) {
    sum += x;
    ++count;
  }
  void merge(const Mean& other) {
    sum += other.sum;
    count += other.count;
  }
  /// Empty if nothing was added.
  std::optional<double> value() const { return quotient(sum, count); }
};

}  // namespace sinkscope
