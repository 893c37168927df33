#pragma once
// The run in progress, as the tap operators see it.

#include <exception>

#include "observe/head_layout.h"
#include "observe/observe.h"

namespace sinkscope {

struct RunState {
  const Taps* taps = nullptr;
  InputShape input;
  std::exception_ptr problem;  ///< first exception of a callback
};

/// Makes `state` the run in progress on this thread while it lives.
class RunScope {
 public:
  explicit RunScope(RunState& state);
  ~RunScope();
  RunScope(const RunScope&) = delete;
  RunScope& operator=(const RunScope&) = delete;

 private:
  RunState* outer_;
};

/// Keeps the first exception of the run in progress on this thread, which run_graph throws instead of the
/// interpreter's.
void keep_problem(std::exception_ptr problem);

}  // namespace sinkscope
