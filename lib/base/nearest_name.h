#pragma once
// "Did you mean": the nearest of the valid names.

#include <string>
#include <string_view>
#include <vector>

namespace sinkscope {

/// The name in `valid` that `wanted` can be a slip of: the one with the smallest edit distance (a letter inserted,
/// deleted or replaced, two neighbours exchanged; ties: the first) if it is near, else empty. Near is at most one edit
/// in three letters of the longer name, or one edit where some letter is left; a beginning of three letters or more, as
/// `eps` of `epsilon`, is one edit from the whole.
std::string nearest_name(std::string_view wanted, const std::vector<std::string>& valid);

/// The end of a sentence that refuses `wanted`: "; did you mean 'NAME'?", or "." if no other name is near.
std::string did_you_mean(std::string_view wanted, const std::vector<std::string>& valid);

}  // namespace sinkscope
