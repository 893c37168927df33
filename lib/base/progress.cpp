#include "base/progress.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <utility>

#include "base/terminal.h"

namespace sinkscope {
namespace {

std::string time_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::ceil(seconds));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace

std::string progress_line(const std::string& title, std::int64_t done, std::int64_t total, const std::string& unit,
                          std::int64_t amount, const std::string& amount_unit, double seconds, int width) {
  std::string line = fmt::format("{} {}/{} {}", title, done, total, unit);
  if (done > 0 && seconds > 0) {
    const double rate = static_cast<double>(amount) / seconds;
    line +=
        fmt::format(", {} {}/s", rate < 10 ? fmt::format("{:.1f}", rate) : fmt::format("{:.0f}", rate), amount_unit);
    if (done < total) {
      const double left = seconds * static_cast<double>(total - done) / static_cast<double>(done);
      line += fmt::format(", {} left", time_text(left));
    }
  }
  if (width > 1 && line.size() >= static_cast<std::size_t>(width)) line.resize(static_cast<std::size_t>(width) - 1);
  return line;
}

Progress::Progress(std::string title, std::int64_t total, std::string unit, std::string amount_unit, bool shown)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      amount_unit_(std::move(amount_unit)),
      total_(total),
      shown_(shown) {}

void Progress::update(std::int64_t done, std::int64_t amount) {
  if (!shown_) return;
  const auto now = Clock::now();
  if (now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const int width = terminal_width(Output::err);
  std::fprintf(stderr, "\r\033[K%s",
               progress_line(title_, done, total_, unit_, amount, amount_unit_, seconds, width).c_str());
  std::fflush(stderr);
  visible_ = true;
}

void Progress::clear() {
  if (!visible_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  visible_ = false;
}

}  // namespace sinkscope
