#include "report/read_sweep.h"

#include <fmt/core.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "files/mapped_file.h"
#include "report/read_report.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string text_at(const Json& json, const char* key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Path of the report of an entry; empty where it has none.
std::string report_of(const Json& entry, const std::string& directory) {
  const std::string report = text_at(entry, "report");
  return report.empty() ? "" : (fs::path(directory) / report).string();
}

}  // namespace

bool is_directory(const std::string& path) {
  std::error_code error;
  return path != "-" && fs::is_directory(path, error);
}

std::vector<SweepEntry> read_sweep(const std::string& directory) {
  const std::string file = (fs::path(directory) / "sweep.json").string();
  std::error_code error;
  if (!fs::exists(file, error))
    throw InputError(
        fmt::format("{}: holds no sweep.json, so it is no sweep. Give a report, or the folder of a sweep.", directory));
  const Json sweep = parse_json(read_text(file), file);
  if (text_at(sweep, "kind") != "sweep") throw InputError(fmt::format("{}: is not of kind sweep", file));
  const std::string version = text_at(sweep, "schema_version");
  if (!version.starts_with("1."))
    throw InputError(fmt::format("{}: schema version {}; this sinkscope reads 1.x. Use the version that wrote it.",
                                 file, version.empty() ? "unknown" : version));
  const auto list = sweep.find("checkpoints");
  if (list == sweep.end() || !list->is_array())
    throw InputError(fmt::format("{}: a damaged sweep: /checkpoints: no array", file));

  std::map<std::string, const Json*> by_name;
  for (const Json& entry : *list) {
    const std::string name = text_at(entry, "name");
    if (name.empty()) throw InputError(fmt::format("{}: a damaged sweep: a checkpoint without a name", file));
    if (!by_name.emplace(name, &entry).second)
      throw InputError(fmt::format("{}: a damaged sweep: two checkpoints are called {}", file, name));
  }
  std::vector<SweepEntry> entries;
  for (const Json& entry : *list) {
    SweepEntry found{.name = text_at(entry, "name"), .report = {}, .problem = {}};
    const std::string status = text_at(entry, "status");
    if (status == "done") found.report = report_of(entry, directory);
    if (status == "duplicate") {
      found.report = report_of(entry, directory);
      const auto twin = by_name.find(text_at(entry, "duplicate_of"));
      if (found.report.empty() && twin != by_name.end()) found.report = report_of(*twin->second, directory);
    }
    if (found.report.empty()) {
      const std::string message = text_at(entry, "message");
      found.problem = (status.empty() ? "without a status" : status) + (message.empty() ? "" : ": " + message);
    }
    entries.push_back(std::move(found));
  }
  return entries;
}

}  // namespace sinkscope
