// The kernels' loops run on the threads that torch has been given.
#include <ATen/Parallel.h>

#include <mutex>
#include <set>
#include <thread>

#include "catch.h"

namespace sinkscope {
namespace {

TEST_CASE("a parallel loop of ours runs on more than one thread", "[kernels]") {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  at::parallel_for(0, 2, 1, [&](std::int64_t, std::int64_t) {
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  at::set_num_threads(threads);
  CHECK(seen.size() == 2);
}

}  // namespace
}  // namespace sinkscope
