// Which files a path stands for.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "base/error.h"
#include "files/checkpoint.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::size_t kListed = 8;  // names in a message

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);  // false for a link that leads nowhere
}

std::string listed(const std::vector<std::string>& names) {
  const std::vector<std::string> some(names.begin(), names.begin() + std::min(names.size(), kListed));
  return fmt::format("{}{}", fmt::join(some, ", "), names.size() > kListed ? ", ..." : "");
}

/// The file names in the `weight_map` of an index.
std::set<std::string> names_in_index(const fs::path& index) {
  const auto refuse = [&](const std::string& what) {
    throw InputError(fmt::format("{}: not an index of safetensors files: {}", index.string(), what));
  };
  const nlohmann::json json = nlohmann::json::parse(read_text(index.string()), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) refuse("it is no JSON object");
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty()) refuse("it has no `weight_map`");
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) refuse(fmt::format("its entry {} names no file", in_quotes(tensor)));
    const fs::path name(file.get<std::string>());
    if (name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end())
      refuse(fmt::format("its entry {} leads out of the folder: {}", in_quotes(tensor), in_quotes(name.string())));
    names.insert(name.string());
  }
  return names;
}

std::vector<std::string> files_of_index(const fs::path& index) {
  std::vector<std::string> files, absent;
  for (const std::string& name : names_in_index(index)) {
    const fs::path file = index.parent_path() / name;
    (is_there(file) ? files : absent).push_back(is_there(file) ? file.string() : name);
  }
  if (!absent.empty())
    throw InputError(fmt::format("{}: names files that are not there: {}. Is the download complete?", index.string(),
                                 listed(absent)));
  return files;
}

/// One set of numbered files: its name without the number, and how many there are said to be.
using NumberedSet = std::pair<std::string, std::int64_t>;

std::map<NumberedSet, std::map<std::int64_t, std::string>> numbered_sets(const std::vector<fs::path>& files) {
  static const std::regex pattern(R"((.*)-(\d{1,9})-of-(\d{1,9})\.safetensors)");
  std::map<NumberedSet, std::map<std::int64_t, std::string>> sets;
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    std::smatch match;
    if (std::regex_match(name, match, pattern))
      sets[{match[1].str(), std::stoll(match[3].str())}][std::stoll(match[2].str())] = file.string();
  }
  return sets;
}

std::vector<std::string> complete(const fs::path& folder, const NumberedSet& set,
                                  const std::map<std::int64_t, std::string>& files) {
  const std::int64_t first = files.contains(0) ? 0 : 1;
  std::vector<std::string> found, absent;
  for (std::int64_t i = first; i < first + set.second && absent.size() <= kListed; ++i) {
    if (const auto file = files.find(i); file != files.end())
      found.push_back(file->second);
    else
      absent.push_back(fmt::format("{}-{:05}-of-{:05}.safetensors", set.first, i, set.second));
  }
  if (!absent.empty() || found.size() != files.size())
    throw InputError(fmt::format("{}: of {} files {} are there; missing: {}. Is the download complete?",
                                 folder.string(), set.second, files.size(), listed(absent)));
  return found;
}

std::vector<std::string> files_of_folder(const fs::path& folder) {
  const fs::path single = folder / kSingle, index = folder / kIndex;
  if (is_there(index)) {
    if (is_there(single) && !names_in_index(index).contains(kSingle))
      throw InputError(fmt::format("{}: holds both {} and {}, which names other files; name the one that is meant",
                                   folder.string(), kSingle, kIndex));
    return files_of_index(index);
  }
  if (is_there(single)) return {single.string()};

  std::vector<fs::path> files;
  bool pickled = false;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".safetensors" && is_there(entry.path())) files.push_back(entry.path());
    pickled |= extension == ".bin" || extension == ".pth";
  }
  if (error) throw InputError(fmt::format("{}: cannot be read: {}", folder.string(), error.message()));
  if (files.empty())
    throw InputError(fmt::format("{}: holds no .safetensors file{}", folder.string(),
                                 pickled ? "; pickled weights (.bin, .pth) have to be converted first, see "
                                           "docs/weights.md"
                                         : ""));
  std::sort(files.begin(), files.end());
  const auto sets = numbered_sets(files);
  if (sets.size() > 1)
    throw InputError(
        fmt::format("{}: holds several sets of numbered files ({}-..-of-{} and {}-..-of-{}); "
                    "move one away, or give an index",
                    folder.string(), sets.begin()->first.first, sets.begin()->first.second, sets.rbegin()->first.first,
                    sets.rbegin()->first.second));
  if (sets.size() == 1) return complete(folder, sets.begin()->first, sets.begin()->second);
  std::vector<std::string> all;
  for (const fs::path& file : files) all.push_back(file.string());
  return all;
}

}  // namespace

std::vector<std::string> checkpoint_files(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return files_of_folder(path);
  if (path.ends_with(".json") && is_there(path)) return files_of_index(path);
  return {path};
}

std::optional<std::string> config_beside(const std::string& path) {
  std::error_code error;
  const fs::path config =
      (fs::is_directory(path, error) ? fs::path(path) : fs::path(path).parent_path()) / "config.json";
  return is_there(config) ? std::optional(config.string()) : std::nullopt;
}

}  // namespace sinkscope
