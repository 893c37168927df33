#pragma once
// Who works on what, where several processes share a sweep directory, on one machine or through a network file system.
//
// A claim is a file created exclusively, which every shared file system does atomically. It lives by its modification
// time, which a thread of the holder renews: file locks are often missing or local to a node (Lustre without -o flock,
// NFS without a lock service), while times always travel. Nobody compares clocks: a claim is dead when an observer has
// seen the same time for `patience`, by its own clock, or at once where the holder ran on the same machine and is gone.
// A dead claim is not removed but followed by the next generation of its name, again created exclusively: of
// several observers one wins. Whoever has a claim looks for a finished report before measuring, so a claim that was
// released between two looks costs nothing.

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

namespace sinkscope {

class Claims;

/// Held until the object goes away.
class Claim {
 public:
  ~Claim();
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&& other) noexcept;

  /// Whether nobody has taken it over: a holder that was stopped for longer than `patience` may find that somebody has.
  bool lives() const;

 private:
  friend class Claims;
  Claim(Claims* owner, std::string path) : owner_(owner), path_(std::move(path)) {}
  Claims* owner_ = nullptr;
  std::string path_;
};

class Claims {
 public:
  using Clock = std::chrono::steady_clock;
  struct Timing {
    Clock::duration heartbeat = std::chrono::seconds(5);
    Clock::duration patience = std::chrono::seconds(40);
  };

  /// `folder` is created. Throws UsageError if it cannot be.
  explicit Claims(const std::string& folder);
  Claims(const std::string& folder, Timing timing);
  /// Claims must be gone before.
  ~Claims();
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;

  /// The claim on `key` (any text), or empty while somebody else has it, another object of this process included. Ask
  /// again to find out that its holder has died. Throws UsageError if the folder cannot be written.
  std::optional<Claim> take(const std::string& key);

 private:
  friend class Claim;
  struct Seen {
    std::string time;
    Clock::time_point since;
  };
  bool is_dead(const std::string& path);
  /// How long this object has seen the claim at `path` with this modification time. Under mutex_.
  Clock::duration unchanged_for(const std::string& path, const std::string& time);
  void release(const std::string& path);
  void beat();

  std::string folder_, identity_;
  Timing timing_;
  std::map<std::string, Seen> seen_;  ///< of claims of others
  std::mutex mutex_;
  std::condition_variable wake_;
  std::set<std::string> held_;
  bool stop_ = false;
  std::thread heart_;
};

}  // namespace sinkscope
