#include "base/nearest_name.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace sinkscope {
namespace {

/// Letters inserted, deleted and replaced, and neighbours exchanged.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1), above, two_above;  // of the distances between the beginnings
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    two_above = std::exchange(above, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, above[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], two_above[j - 2] + 1);
    }
  }
  return row.back();
}

constexpr std::size_t kBeginning = 3;  // letters that say which name is meant

std::size_t slips(std::string_view wanted, std::string_view name) {
  const std::size_t distance = edit_distance(wanted, name);
  return wanted.size() >= kBeginning && name.starts_with(wanted) ? std::min<std::size_t>(distance, 1) : distance;
}

/// The most slips between two words of which the longer has so many letters.
std::size_t most_slips(std::size_t letters) { return std::min(std::max<std::size_t>(letters / 3, 1), letters - 1); }

}  // namespace

std::string nearest_name(std::string_view wanted, const std::vector<std::string>& valid) {
  std::string best;
  std::size_t fewest = 0;
  for (const std::string& name : valid) {
    const std::size_t count = slips(wanted, name);
    if (name.empty() || count > most_slips(std::max(wanted.size(), name.size()))) continue;
    if (!best.empty() && count >= fewest) continue;
    fewest = count;
    best = name;
  }
  return best;
}

std::string did_you_mean(std::string_view wanted, const std::vector<std::string>& valid) {
  const std::string name = nearest_name(wanted, valid);
  return name.empty() || name == wanted ? "." : "; did you mean '" + name + "'?";
}

}  // namespace sinkscope
