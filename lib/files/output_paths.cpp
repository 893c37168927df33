#include "files/output_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/error.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;

/// Below `folder`, and of a kind that commands read from folders.
bool is_read_from(const fs::path& folder, const fs::path& file) {
  constexpr std::array<std::string_view, 3> kinds{".json", ".safetensors", ".pt"};
  if (std::find(kinds.begin(), kinds.end(), file.extension().string()) == kinds.end()) return false;
  std::error_code error;
  const fs::path inner = fs::weakly_canonical(file, error), outer = fs::weakly_canonical(folder, error);
  if (error) return false;
  const fs::path relative = inner.lexically_relative(outer);
  return !relative.empty() && *relative.begin() != "..";
}

bool would_replace(const std::string& output, const std::string& input) {
  std::error_code error;
  if (input == "-" || !fs::is_regular_file(output, error)) return false;
  return is_same_file(output, input) || (fs::is_directory(input, error) && is_read_from(input, output));
}

}  // namespace

bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error) && !error) return true;
  return fs::absolute(a).lexically_normal() == fs::absolute(b).lexically_normal();
}

void check_output_paths(const std::vector<OutputPath>& outputs, const std::vector<std::string>& inputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& [flag, path] = outputs[i];
    for (std::size_t j = i + 1; j < outputs.size(); ++j) {
      const std::string& other = outputs[j].path;
      const bool clash = path == "-" ? other == "-" : other != "-" && is_same_file(path, other) && path != "/dev/null";
      if (clash)
        throw UsageError(fmt::format("{} and {} both write to {}; give another file to one of them", flag,
                                     outputs[j].flag, path == "-" ? "stdout" : path));
    }
    if (path == "-") continue;
    for (const std::string& input : inputs)
      if (would_replace(path, input))
        throw UsageError(fmt::format("{} {}: would overwrite an input of this run; name another file", flag, path));
  }
}

}  // namespace sinkscope
