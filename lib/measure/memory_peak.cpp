#include "measure/memory_peak.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <atomic>

namespace sinkscope {

struct MemoryPeak::Counter : c10::MemoryReportingInfoBase {
  // The allocator calls this for every allocation (size > 0) and release (size < 0) while profiling is on.
  void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
    const std::int64_t now = held.fetch_add(size) + size;
    std::int64_t before = peak.load();
    while (now > before && !peak.compare_exchange_weak(before, now)) {
    }
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::atomic<std::int64_t> held{0}, peak{0};
};

struct MemoryPeak::Guard {
  explicit Guard(std::shared_ptr<Counter> counter) : guard(c10::DebugInfoKind::PROFILER_STATE, std::move(counter)) {}
  c10::DebugInfoGuard guard;
};

MemoryPeak::MemoryPeak() : counter_(std::make_shared<Counter>()), guard_(std::make_unique<Guard>(counter_)) {}
MemoryPeak::~MemoryPeak() = default;

std::int64_t MemoryPeak::bytes() const { return counter_->peak.load(); }

}  // namespace sinkscope
