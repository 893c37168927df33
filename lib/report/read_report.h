#pragma once
// Saved reports.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sinkscope {

struct SavedReport {
  std::string path;  ///< as given; - for stdin
  std::string name;  ///< file name without .json, with the folders below the directory that was given
  nlohmann::ordered_json json;
};

/// Parses a document that sinkscope may have written. Throws InputError that names `path`: not JSON, or nested deeper
/// than any of its files.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& path);

/// Parses and checks a measure report of any schema version 1.x: everything that the renderers rely on is there and of
/// the right type; what a later minor version adds is let through. Throws InputError that names `path` and the place in
/// the document.
nlohmann::ordered_json parse_report(std::string_view text, const std::string& path);

/// Reads the reports named by `paths`, in that order: files, - for stdin, and directories, which stand for the measure
/// reports in them and in their folders, by name (other kinds, such as sweep.json, are passed over). Throws InputError;
/// also where a directory has none.
std::vector<SavedReport> read_reports(const std::vector<std::string>& paths);

}  // namespace sinkscope
