#pragma once
// Errors and exit codes (docs/cli.md, "Exit codes"). Every Error is caught once, in base/guard.h, and becomes one
// message on stderr.

#include <stdexcept>
#include <string>

namespace sinkscope {

enum class Exit : int {
  ok = 0,
  regression = 1,
  usage = 2,
  input = 3,
  device = 4,
  numerical = 5,
  partial_sweep = 6,
  internal = 70,
  interrupted = 130,
  terminated = 143
};

/// A message for the user (what, where, what to do) and the exit code of its class.
struct Error : std::runtime_error {
  Error(Exit exit_code, const std::string& what) : std::runtime_error(what), code(exit_code) {}
  Exit code;
};

/// Unknown flag, key, metric or a value out of range: exit 2.
struct UsageError : Error {
  explicit UsageError(const std::string& what) : Error(Exit::usage, what) {}
};

/// Model, weights or token file unreadable or unsupported: exit 3.
struct InputError : Error {
  explicit InputError(const std::string& what) : Error(Exit::input, what) {}
};

/// Device unavailable or out of memory: exit 4.
struct DeviceError : Error {
  explicit DeviceError(const std::string& what) : Error(Exit::device, what) {}
};

}  // namespace sinkscope
