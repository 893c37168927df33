#pragma once
// Several steps of which one may fail without costing the others.

#include <exception>
#include <utility>

namespace sinkscope {

class KeepGoing {
 public:
  template <class Step>
  void run(Step&& step) {
    try {
      std::forward<Step>(step)();
    } catch (...) {
      if (!first_) first_ = std::current_exception();
    }
  }

  /// Throws what the first step that failed has thrown; does nothing if none has.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::exception_ptr first_;
};

}  // namespace sinkscope
