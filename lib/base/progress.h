#pragma once
// A progress line with rate and time left, rewritten in place on the terminal behind stderr; nothing anywhere else.

#include <chrono>
#include <cstdint>
#include <string>

namespace sinkscope {

/// "measuring 12/100 sequences, 5333 tokens/s, 0:42 left", cut to `width` columns. `amount` is what the rate counts
/// (tokens so far).
std::string progress_line(const std::string& title, std::int64_t done, std::int64_t total, const std::string& unit,
                          std::int64_t amount, const std::string& amount_unit, double seconds, int width);

class Progress {
 public:
  /// `shown`: use_progress(config.progress && !config.quiet) of base/terminal.h.
  Progress(std::string title, std::int64_t total, std::string unit, std::string amount_unit, bool shown);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Clears the line, so that messages and results stand on a clean one.
  ~Progress() { clear(); }

  /// `done` of `total` so far, `amount` for the rate. Prints at most ten times a second.
  void update(std::int64_t done, std::int64_t amount);
  /// Before something else is printed on stderr.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string title_, unit_, amount_unit_;
  std::int64_t total_;
  bool shown_;
  bool visible_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_ - std::chrono::hours(1);  // the first update prints at once
};

}  // namespace sinkscope
