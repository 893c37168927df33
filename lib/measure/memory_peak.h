#pragma once
// The most bytes that libtorch's CPU allocator held at once.

#include <cstdint>
#include <memory>

namespace sinkscope {

/// Counts, from construction to destruction, what this thread allocates and releases: the reports that the allocator
/// makes go to the thread that made the call. Tensors that were there before are not in it.
class MemoryPeak {
 public:
  MemoryPeak();
  ~MemoryPeak();
  MemoryPeak(const MemoryPeak&) = delete;
  MemoryPeak& operator=(const MemoryPeak&) = delete;
  std::int64_t bytes() const;

 private:
  struct Counter;
  struct Guard;
  std::shared_ptr<Counter> counter_;
  std::unique_ptr<Guard> guard_;
};

}  // namespace sinkscope
