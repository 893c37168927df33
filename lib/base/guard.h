#pragma once
// The one place where exceptions end: one message on stderr and an exit code. Called by main() and by the entry point
// of the torch module, so that no exception crosses the border between them.

#include <string>
#include <utility>

#include "base/error.h"

namespace sinkscope {

/// Thrown when the command line only asks for text (--help, --version): it goes to stdout, exit 0.
struct TextRequested {
  std::string text;
};

/// Reports the exception being handled and returns its exit code: Error its own, std::bad_alloc 4, anything else 70
/// with a request to report it. `verbose` adds the type of the exception and the chain of its causes
/// (std::throw_with_nested).
Exit report_current_exception(bool verbose);

/// Whether -v or --verbose is among the arguments: asked where parsing them may be what failed.
bool wants_detail(int argc, char** argv);

/// Writes what stdout still buffers; throws Error when that fails (disk full), since the result would be lost in
/// silence. A second call does not throw for the same failure.
void flush_stdout();

template <class Command>
int guarded(int argc, char** argv, Command&& command) {
  try {
    const Exit exit = std::forward<Command>(command)();
    flush_stdout();
    return static_cast<int>(exit);
  } catch (...) {
    return static_cast<int>(report_current_exception(wants_detail(argc, argv)));
  }
}

}  // namespace sinkscope
