#include "check/append_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "check/render_check.h"

namespace sinkscope {
namespace {

constexpr std::size_t kLimit = std::size_t{1} << 20;

}  // namespace

void append_summary(const Outcome& outcome) {
  const char* path = std::getenv("GITHUB_STEP_SUMMARY");
  if (path == nullptr || *path == '\0') return;
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  const std::size_t there = error ? 0 : static_cast<std::size_t>(std::min<std::uintmax_t>(size, kLimit));
  const std::string text = check_as_summary(outcome, kLimit - there);
  std::ofstream file(path, std::ios::binary | std::ios::app);  // other commands of the step write there too
  if (!(file << text << std::flush))
    throw UsageError(fmt::format("GITHUB_STEP_SUMMARY={}: cannot be written: {}", path, std::strerror(errno)));
}

}  // namespace sinkscope
