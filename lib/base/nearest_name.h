#pragma once
// "Did you mean": the nearest of the valid names.

#include <string>
#include <string_view>
#include <vector>

namespace sinkscope {

/// The name in `valid` with the smallest edit distance (insert, delete, replace) to `wanted`; ties: the first. Empty if
/// `valid` is.
std::string nearest_name(std::string_view wanted, const std::vector<std::string>& valid);

}  // namespace sinkscope
