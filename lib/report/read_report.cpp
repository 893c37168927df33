#include "report/read_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "base/embedded.h"
#include "base/error.h"
#include "files/mapped_file.h"
#include "report/fits_schema.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

std::string text_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

/// No report is nested deeper than 20; what comes after the parser walks documents by recursion.
constexpr int kMaxDepth = 64;

void check_report(const Json& report, const std::string& path) {
  const std::string kind = report.is_object() ? text_at(report, "kind") : "";
  if (kind.empty()) throw InputError(fmt::format("{}: not a report of sinkscope measure (it has no \"kind\")", path));
  if (kind != "measure")
    throw InputError(fmt::format("{}: a report of kind {}; one of sinkscope measure is needed", path, kind));
  const std::string version = text_at(report, "schema_version");
  if (!version.starts_with("1."))
    throw InputError(
        fmt::format("{}: schema version {}; this sinkscope reads 1.x. Use the version that wrote it, or measure again.",
                    path, version.empty() ? "unknown" : version));
  static const Json schema = Json::parse(embedded::file("report.schema.json"));
  if (const auto problem = misfit(report, schema))
    throw InputError(
        fmt::format("{}: a damaged report: {}. `sinkscope schema` prints what it should be.", path, *problem));
}

constexpr const char* kRemedy = "Copy it again, or measure again.";

/// A message of the JSON library, which begins with a code in brackets.
std::string_view without_code(std::string_view message) {
  const std::size_t end = message.starts_with('[') ? message.find("] ") : std::string_view::npos;
  return end == std::string_view::npos ? message : message.substr(end + 2);
}

std::string shown(const std::string& path) { return path == "-" ? "stdin" : path; }

void read_directory(const std::string& directory, std::vector<SavedReport>& reports) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; entry != end && !error; entry.increment(error))
    // Hidden files are those that a running measurement writes aside.
    if (entry->path().extension() == ".json" && !entry->path().filename().string().starts_with("."))
      files.push_back(entry->path());
  if (error) throw InputError(fmt::format("{}: cannot be read: {}", directory, error.message()));
  std::sort(files.begin(), files.end());
  const std::size_t before = reports.size();
  for (const fs::path& file : files) {
    if (file.string().ends_with(".meta.json")) continue;  // beside token files
    Json json = parse_json(read_text(file.string()), file.string());
    if (!json.is_object() || text_at(json, "kind") != "measure") continue;
    check_report(json, file.string());
    reports.push_back(
        {file.string(), file.lexically_relative(directory).replace_extension().string(), std::move(json)});
  }
  if (reports.size() == before) throw InputError(fmt::format("{}: holds no report of sinkscope measure", directory));
}

}  // namespace

Json parse_json(std::string_view text, const std::string& path) {
  const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) throw InputError(fmt::format("{}: nested too deep for a file of sinkscope", path));
    return true;
  };
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    throw InputError(fmt::format("{}: is empty. {}", path, kRemedy));
  try {
    return Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    if (error.byte > text.size())  // the parser asked for more
      throw InputError(
          fmt::format("{}: ends at byte {} in the middle of its JSON: it was cut off. {}", path, text.size(), kRemedy));
    throw InputError(fmt::format("{}: not JSON, so no report of sinkscope: {}", path, without_code(error.what())));
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("{}: no report of sinkscope: {}", path, without_code(error.what())));
  }
}

Json parse_report(std::string_view text, const std::string& path) {
  Json report = parse_json(text, path);
  check_report(report, path);
  return report;
}

std::vector<SavedReport> read_reports(const std::vector<std::string>& paths) {
  std::vector<SavedReport> reports;
  for (const std::string& path : paths) {
    std::error_code error;
    if (path != "-" && fs::is_directory(path, error)) {
      read_directory(path, reports);
    } else {
      const std::string name = path == "-" ? "stdin" : fs::path(path).filename().replace_extension().string();
      reports.push_back({path, name, parse_report(read_text(path), shown(path))});
    }
  }
  return reports;
}

}  // namespace sinkscope
