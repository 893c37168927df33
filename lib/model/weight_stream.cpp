#include "model/weight_stream.h"

#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "model/assemble.h"

namespace sinkscope {
namespace {

std::mutex registry_mutex;
/// By plan.
std::map<std::int64_t, WeightStream*>& registry() {
  static std::map<std::int64_t, WeightStream*> streams;
  return streams;
}

struct Read {
  at::Tensor value;
  std::exception_ptr problem;
  std::int64_t bytes = 0;
};

}  // namespace

struct WeightStream::State {
  explicit State(at::Device on) : device(on) {}

  const at::Device device;
  MatchedWeights weights;
  std::map<std::string, const WeightMatch*> by_name;
  std::map<std::int64_t, std::vector<std::string>> plans;
  std::int64_t running = 0;                        ///< number of the plan that was fetched from last
  const std::vector<std::string>* plan = nullptr;  ///< that plan; changes only while nothing is read

  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::int64_t, Read> ready;  ///< by step: read and not yet fetched
  std::int64_t ready_bytes = 0;
  std::int64_t next = 0;    ///< step to be read next
  std::int64_t wanted = 0;  ///< step that was fetched last, or is waited for
  bool reading = false;     ///< the step before `next`, outside the lock
  bool idle = true;         ///< no run has begun: nothing is read ahead
  bool stop = false;
  std::thread reader;

  const WeightMatch& match(std::int64_t step) const { return *by_name.at(plan->at(static_cast<std::size_t>(step))); }

  std::int64_t bytes(std::int64_t step) const {
    const WeightMatch& m = match(step);
    return bytes_of(m.recipe, *weights.checkpoint, m.target.scalar_type());
  }

  bool may_read() const {
    if (idle || next >= std::ssize(*plan)) return false;
    return next <= wanted || ready.empty() || ready_bytes + bytes(next) <= kReadAhead;
  }

  Read read(std::int64_t step) const {
    Read done;
    try {
      const WeightMatch& m = match(step);
      done.value = assemble(m.recipe, *weights.checkpoint, m.target.scalar_type()).to(device);
      done.bytes = bytes(step);
    } catch (...) {
      done.problem = std::current_exception();
    }
    return done;
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stop || may_read(); });
      if (stop) return;
      const std::int64_t step = next++;
      reading = true;
      lock.unlock();
      Read done = read(step);
      lock.lock();
      reading = false;
      if (next == step + 1 && step >= wanted) {  // else the run has jumped meanwhile
        ready_bytes += done.bytes;
        ready.emplace(step, std::move(done));
      }
      changed.notify_all();
    }
  }

  /// Nothing is read or kept any more.
  void halt(std::unique_lock<std::mutex>& lock) {
    idle = true;
    changed.wait(lock, [&] { return !reading; });
    ready.clear();
    ready_bytes = next = wanted = 0;
  }

  void drop_before(std::int64_t step) {
    while (!ready.empty() && ready.begin()->first < step) {
      ready_bytes -= ready.begin()->second.bytes;
      ready.erase(ready.begin());
    }
  }
};

WeightStream::WeightStream(at::Device device) : state_(std::make_unique<State>(device)) {
  state_->reader = std::thread([state = state_.get()] { state->run(); });
}

WeightStream::~WeightStream() {
  {
    const std::lock_guard lock(registry_mutex);
    for (const auto& [number, steps] : state_->plans) registry().erase(number);
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  state_->reader.join();
}

void WeightStream::open(MatchedWeights weights) {
  std::unique_lock lock(state_->mutex);
  state_->halt(lock);
  state_->weights = std::move(weights);
  state_->by_name.clear();
  for (const WeightMatch& match : state_->weights.matches) state_->by_name[match.name] = &match;
}

std::set<std::string> WeightStream::parameters() const {
  std::set<std::string> names;
  for (const auto& [name, match] : state_->by_name) names.insert(name);
  return names;
}

std::int64_t WeightStream::new_plan() {
  static std::int64_t last = 0;
  const std::scoped_lock lock(registry_mutex, state_->mutex);
  registry()[++last] = this;
  state_->plans[last];
  return last;
}

void WeightStream::set_plan(std::int64_t plan, std::vector<std::string> steps) {
  std::unique_lock lock(state_->mutex);
  state_->halt(lock);
  for (const std::string& name : steps)
    if (!state_->by_name.contains(name))
      throw InputError(fmt::format("{}: is in no checkpoint that is streamed", name));
  state_->plans.at(plan) = std::move(steps);
}

at::Tensor WeightStream::fetch(std::int64_t plan, std::int64_t step) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (plan != s.running) {  // another graph runs: what was read ahead is not its next
    s.halt(lock);
    s.plan = &s.plans.at(plan);
    s.running = plan;
  }
  s.drop_before(step);
  s.wanted = step;
  const bool coming = s.ready.contains(step) || step == s.next || (s.reading && step == s.next - 1);
  if (!coming) {  // the plan begins again, or steps were left out
    s.ready.clear();
    s.ready_bytes = 0;
    s.next = step;
  }
  s.idle = false;
  s.changed.notify_all();
  s.changed.wait(lock, [&] { return s.ready.contains(step); });
  Read done = std::move(s.ready.at(step));
  s.ready_bytes -= done.bytes;
  s.ready.erase(step);
  s.changed.notify_all();
  lock.unlock();
  if (done.problem) std::rethrow_exception(done.problem);
  return done.value;
}

WeightStream& WeightStream::find(std::int64_t plan) {
  const std::lock_guard lock(registry_mutex);
  const auto it = registry().find(plan);
  if (it == registry().end()) throw std::logic_error("no weight stream of that number");
  return *it->second;
}

}  // namespace sinkscope
