#pragma once
// What --layers and the globs mean.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sinkscope {

/// The layers of "0-7,12": 0-based, both ends included.
class LayerSelection {
 public:
  /// Throws UsageError that shows the form.
  static LayerSelection parse(const std::string& text);
  /// A site outside every layer (no value) is not selected.
  bool contains(std::optional<std::int64_t> layer) const;

 private:
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges_;
};

/// Shell pattern over the whole text; `*` also matches dots and slashes.
bool glob_matches(const std::string& pattern, const std::string& text);

}  // namespace sinkscope
