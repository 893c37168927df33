#pragma once
// The kind of a file, by the ending of its name.

#include <string>

namespace sinkscope {

/// ".jsonl" of T.JSONL: from the last dot on, in lower case; "" without one.
std::string ending_of(const std::string& path);

}  // namespace sinkscope
