#include "config/setting_source.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "base/nearest_name.h"
#include "files/mapped_file.h"

namespace sinkscope {
namespace {

constexpr std::string_view kPrefix = "SINKSCOPE_";
constexpr const char* kSet = "SINKSCOPE_SET";
constexpr const char* kConfig = "SINKSCOPE_CONFIG";

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : text + separator) {
    if (c != separator) {
      part += c;
    } else if (!part.empty()) {
      parts.push_back(std::exchange(part, {}));
    }
  }
  return parts;
}

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

}  // namespace

void add_parameter(SettingSource& source, const std::string& text, const std::string& where) {
  const auto equals = text.find('=');
  const auto dot = text.substr(0, equals).find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot == 0 || dot + 1 == equals)
    throw UsageError(fmt::format("{}: expects METRIC.PARAMETER=VALUE, not '{}'", where, text));
  const std::string metric = text.substr(0, dot), parameter = text.substr(dot + 1, equals - dot - 1);
  try {
    Parameters(find_metric(metric).parameters).at(parameter);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{} {}: {}", where, text, error.what()));
  }
  source.parameters[{metric, parameter}] = {{text.substr(equals + 1)}, where};
}

SettingSource from_environment(const std::vector<Group>& groups) {
  SettingSource source;
  const auto has = [&](Group group) { return std::find(groups.begin(), groups.end(), group) != groups.end(); };
  for (const Setting& setting : settings()) {
    if (setting.key.empty() || !has(setting.group)) continue;
    const std::string name = environment_name(setting.key), value = variable(name);
    if (value.empty()) continue;
    const bool many = setting.kind == Kind::list || setting.kind == Kind::table;
    source.settings[long_flag(setting)] = {many ? split(value, ',') : std::vector<std::string>{value}, name};
  }
  if (!has(Group::what)) return source;
  for (const std::string& text : split(variable(kSet), ';')) add_parameter(source, text, kSet);
  if (const std::string path = variable(kConfig); !path.empty()) source.settings["--config"] = {{path}, kConfig};
  return source;
}

std::vector<std::string> suspicious_variables() {
  const auto bare = [](std::string_view name) { return std::string(name.substr(kPrefix.size())); };
  std::vector<std::string> valid = {bare(kSet), bare(kConfig)};
  for (const Setting& setting : settings())
    if (!setting.key.empty()) valid.push_back(bare(environment_name(setting.key)));
  std::vector<std::string> warnings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with(kPrefix)) continue;
    const std::string name = bare(text.substr(0, text.find('=')));
    if (std::find(valid.begin(), valid.end(), name) != valid.end()) continue;
    // Other programs may use the prefix (SINKSCOPE_BINARY of the tests), so only a near miss is worth a word.
    const std::string nearest = nearest_name(name, valid);
    if (!nearest.empty())
      warnings.push_back(fmt::format("{0}{1} is not used; did you mean {0}{2}?", kPrefix, name, nearest));
  }
  return warnings;
}

std::string read_config(const std::string& path) {
  try {
    std::string text = read_text(path);
    if (path != "-") return text;
    // A pipe cannot be read twice, but the torch half parses the same command line again: give it a file in place of
    // the pipe.
    if (lseek(STDIN_FILENO, 0, SEEK_SET) == 0) return text;
    std::FILE* copy = std::tmpfile();
    if (copy == nullptr || std::fwrite(text.data(), 1, text.size(), copy) != text.size() || std::fflush(copy) != 0)
      throw UsageError("--config -: cannot keep a copy of standard input in a temporary file");
    if (dup2(fileno(copy), STDIN_FILENO) < 0) throw UsageError("--config -: cannot replace standard input");
    std::fclose(copy);
    lseek(STDIN_FILENO, 0, SEEK_SET);
    return text;
  } catch (const InputError& error) {
    throw UsageError(fmt::format("--config {}", error.what()));
  }
}

}  // namespace sinkscope
