#include "sweep/manifest.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/nearest_name.h"
#include "files/mapped_file.h"
#include "sweep/name.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

/// The same place, written another way.
std::string place_of(const std::string& path) {
  std::string text = fs::absolute(path).lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

/// Reads the step from the name, else from the revisions of a hub cache that lead there.
NamedStep step_of(const StepReader& reader, const std::string& name, const std::string& path) {
  NamedStep found = reader.read(name);
  if (found.step) return found;
  for (const std::string& revision : hub_revisions(path)) {
    found = reader.read(revision);
    if (found.step) return found;
  }
  return {};
}

void sort(std::vector<SweepCheckpoint>& checkpoints) {
  std::sort(checkpoints.begin(), checkpoints.end(), [](const SweepCheckpoint& a, const SweepCheckpoint& b) {
    constexpr std::int64_t last = std::numeric_limits<std::int64_t>::max();
    return std::tuple(a.step.value_or(last), a.training_tokens.value_or(last), a.name) <
           std::tuple(b.step.value_or(last), b.training_tokens.value_or(last), b.name);
  });
}

void check_pattern(const std::vector<SweepCheckpoint>& checkpoints, const std::optional<std::string>& step_regex) {
  if (!step_regex || checkpoints.empty()) return;
  if (std::any_of(checkpoints.begin(), checkpoints.end(), [](const SweepCheckpoint& c) { return c.step.has_value(); }))
    return;
  throw UsageError(fmt::format("--step-regex {}: no checkpoint name matches (the first is {})", *step_regex,
                               checkpoints.front().name));
}

class ManifestReader {
 public:
  ManifestReader(std::string file, const std::optional<std::string>& step_regex)
      : file_(std::move(file)), reader_(step_regex) {}

  std::vector<SweepCheckpoint> read() {
    const std::string text = read_text(file_);
    std::vector<std::string> paths;
    std::vector<json> lines;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      ++number_;
      const std::string line = text.substr(begin, end - begin);
      begin = end + 1;
      if (line.find_first_not_of(" \t\r") == std::string::npos) fail("is empty");
      lines.push_back(parse(line));
      paths.push_back(resolved(lines.back()["path"].get<std::string>()));
    }
    if (lines.empty()) throw InputError(fmt::format("{}: the manifest is empty", file_));
    const std::vector<std::string> derived = names_below_common_parent(paths);
    std::vector<SweepCheckpoint> checkpoints;
    std::map<std::string, std::size_t> used;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      number_ = i + 1;
      checkpoints.push_back(checkpoint(lines[i], paths[i], derived[i]));
      const auto [earlier, added] = used.emplace(checkpoints.back().name, number_);
      if (!added) fail(fmt::format("has the name {} of line {}", checkpoints.back().name, earlier->second));
    }
    return checkpoints;
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& end = ".") const {
    throw InputError(fmt::format(
        R"({}: line {} {}{} Every line is {{"path": ..., "name": ..., "step": ..., "training_tokens": ...}}; only path is needed.)",
        file_, number_, what, end));
  }

  json parse(const std::string& line) const {
    json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object()) fail("is no JSON object");
    static const std::vector<std::string> keys = {"name", "path", "step", "training_tokens"};
    for (const auto& [key, member] : value.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end())
        fail(fmt::format("has an unknown key '{}'", key), did_you_mean(key, keys));
    if (!value.contains("path") || !value["path"].is_string() || value["path"].get_ref<const std::string&>().empty())
      fail("has no path");
    if (value.contains("name") && !value["name"].is_string()) fail("has a name that is no text");
    for (const char* key : {"step", "training_tokens"})
      if (value.contains(key) && !value[key].is_null() &&
          (!value[key].is_number_integer() || value[key] < 0 ||
           (value[key].is_number_unsigned() && value[key].get<std::uint64_t>() > INT64_MAX)))
        fail(fmt::format("has a {} that is no whole number from 0 on", key));
    return value;
  }

  std::string resolved(const std::string& path) const {
    if (fs::path(path).is_absolute() || file_ == "-") return path;
    const std::string beside = (fs::path(file_).parent_path() / path).string();
    return exists(beside) || !exists(path) ? beside : path;
  }

  SweepCheckpoint checkpoint(const json& line, const std::string& path, const std::string& derived) const {
    const std::string plain = line.contains("name") ? line["name"].get<std::string>() : derived;
    const NamedStep read = step_of(reader_, plain, path);
    SweepCheckpoint made{"", path, read.step, read.training_tokens, read.place};
    try {
      made.name = encode_name(plain);
    } catch (const UsageError& error) {
      fail(fmt::format("is unusable: {}", error.what()));
    }
    if (line.contains("step")) {
      const auto step = line["step"].is_null() ? std::nullopt : std::optional(line["step"].get<std::int64_t>());
      if (step != made.step) made.place = {};  // the number in the name is another one
      made.step = step;
    }
    if (line.contains("training_tokens"))
      made.training_tokens =
          line["training_tokens"].is_null() ? std::nullopt : std::optional(line["training_tokens"].get<std::int64_t>());
    return made;
  }

  std::string file_;
  StepReader reader_;
  std::size_t number_ = 0;
};

}  // namespace

std::vector<std::string> expand_globs(const std::vector<std::string>& paths) {
  std::vector<std::string> expanded;
  for (const std::string& path : paths) {
    if (exists(path) || path.find_first_of("*?[") == std::string::npos) {
      expanded.push_back(path);
      continue;
    }
    glob_t found{};
    const int result = ::glob(path.c_str(), GLOB_TILDE, nullptr, &found);
    for (std::size_t i = 0; result == 0 && i < found.gl_pathc; ++i) expanded.emplace_back(found.gl_pathv[i]);
    ::globfree(&found);
    if (result != 0) throw InputError(fmt::format("{}: no file matches", path));
  }
  return expanded;
}

std::vector<SweepCheckpoint> name_checkpoints(const std::vector<std::string>& paths,
                                              const std::optional<std::string>& step_regex) {
  std::vector<std::string> once;
  std::map<std::string, std::size_t> places;
  for (const std::string& path : paths)
    if (places.emplace(place_of(path), once.size()).second) once.push_back(path);
  const StepReader reader(step_regex);
  const std::vector<std::string> names = names_below_common_parent(once);
  std::vector<SweepCheckpoint> checkpoints;
  std::map<std::string, std::string> used;
  for (std::size_t i = 0; i < once.size(); ++i) {
    const NamedStep read = step_of(reader, names[i], once[i]);
    checkpoints.push_back({encode_name(names[i]), once[i], read.step, read.training_tokens, read.place});
    const auto [earlier, added] = used.emplace(checkpoints.back().name, once[i]);
    if (!added)
      throw UsageError(fmt::format("{} and {} would both be called {}; name them in a --manifest", earlier->second,
                                   once[i], earlier->first));
  }
  check_pattern(checkpoints, step_regex);
  sort(checkpoints);
  return checkpoints;
}

std::vector<SweepCheckpoint> read_manifest(const std::string& file, const std::optional<std::string>& step_regex) {
  std::vector<SweepCheckpoint> checkpoints = ManifestReader(file, step_regex).read();
  check_pattern(checkpoints, step_regex);
  sort(checkpoints);
  return checkpoints;
}

}  // namespace sinkscope
