#pragma once
// Results on stdout. Messages go to stderr; nothing else is printed.

#include <string_view>

namespace sinkscope {

/// Writes all of `bytes` to a file descriptor. Returns 0, or errno of the write that failed.
int write_all(int descriptor, std::string_view bytes);

/// Prints a result at once, behind what the standard streams still buffer. Throws UsageError with the reason (disk
/// full, closed); a closed pipe that raises no SIGPIPE is no error: nobody reads any more.
void print(std::string_view text);

}  // namespace sinkscope
