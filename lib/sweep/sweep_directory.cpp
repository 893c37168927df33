#include "sweep/sweep_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/sha256.h"
#include "files/atomic_file.h"
#include "files/mapped_file.h"
#include "report/read_report.h"
#include "report/report.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw UsageError(fmt::format("{}: cannot be created: {}", folder.string(), error.message()));
}

/// Null if there is no such file or it is damaged: what is remembered is never needed.
Json remembered(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return nullptr;
  try {
    return Json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  } catch (const InputError&) {
    return nullptr;
  }
}

std::string text_at(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

std::int64_t number_at(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_number_integer() ? json[key].get<std::int64_t>() : -1;
}

void write(const std::string& path, const Json& json) {
  make_folder(fs::path(path).parent_path());
  AtomicFile::open(path).commit(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

std::string SweepDirectory::memory(const std::string& kind, const std::string& key) const {
  return fmt::format("{}/.sinkscope/{}/{}", path_, kind, sha256_of(key).substr(0, 32));
}

void SweepDirectory::create() const {
  std::error_code error;
  if (fs::exists(path_, error) && !fs::is_directory(path_, error))
    throw UsageError(fmt::format("-o {}: is a file; a sweep writes a directory of reports", path_));
  make_folder(claims_path());
  AtomicFile::open(index_path());  // goes away uncommitted: only a test
}

void SweepDirectory::remove_leftovers(const std::string& name) const {
  const fs::path report(report_path(name));
  const std::string beginning = "." + report.filename().string() + ".";
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator entry(report.parent_path(), error), end; !error && entry != end; entry.increment(error)) {
    const std::string file = entry->path().filename().string();
    if (file.starts_with(beginning) && file.ends_with(".tmp")) leftovers.push_back(entry->path());
  }
  for (const fs::path& file : leftovers) fs::remove(file, error);
}

CheckpointRecord SweepDirectory::read_record(const std::string& name) const {
  const Json json = remembered(memory("records", name));
  CheckpointRecord record;
  record.sha256 = text_at(json, "sha256");
  if (const std::string failed = text_at(json, "failed"); !failed.empty()) record.failed = failed;
  if (json.is_object() && json.contains("files") && json["files"].is_array())
    for (const Json& file : json["files"])
      record.files.push_back({text_at(file, "path"), number_at(file, "size"), number_at(file, "modified_nanoseconds"),
                              number_at(file, "inode")});
  return record;
}

void SweepDirectory::write_record(const std::string& name, const CheckpointRecord& record) const {
  Json files = Json::array();
  for (const FileSignature& file : record.files)
    files.push_back({{"path", file.path},
                     {"size", file.size},
                     {"modified_nanoseconds", file.modified_nanoseconds},
                     {"inode", file.inode}});
  write(memory("records", name), {{"name", name},
                                  {"sha256", record.sha256},
                                  {"files", files},
                                  {"failed", record.failed ? Json(*record.failed) : Json()}});
}

void SweepDirectory::write_plan(const Json& plan) const {
  const std::string path = path_ + "/.sinkscope/plan";
  if (remembered(path) != plan) write(path, plan);
}

Json SweepDirectory::read_plan() const { return remembered(path_ + "/.sinkscope/plan"); }

std::string SweepDirectory::twin_of(const std::string& sha256) const {
  return text_at(remembered(memory("weights", sha256)), "name");
}

void SweepDirectory::remember_twin(const std::string& sha256, const std::string& name) const {
  if (twin_of(sha256) != name) write(memory("weights", sha256), {{"name", name}});
}

void SweepDirectory::write_report(const std::string& name, const Json& report) const {
  const std::string path = report_path(name);
  make_folder(fs::path(path).parent_path());
  AtomicFile::open(path).commit(dump(report));
}

std::optional<Json> SweepDirectory::read_report(const std::string& name) const {
  const std::string path = report_path(name);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  try {
    Json report = parse_report(read_text(path), path);
    if (report["complete"].get<bool>()) return report;
  } catch (const InputError&) {
    // Half-written by another program, of another kind or of another schema: to be measured again.
  }
  return std::nullopt;
}

std::vector<std::string> SweepDirectory::report_names() const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string file = entry->path().filename().string();
    if (file.starts_with(".") && entry->is_directory(error)) entry.disable_recursion_pending();
    if (file.starts_with(".") || entry->path().extension() != ".json" || !entry->is_regular_file(error)) continue;
    const std::string name = entry->path().lexically_relative(path_).replace_extension().string();
    if (name != "sweep") names.push_back(name);
  }
  if (error) throw InputError(fmt::format("{}: cannot be read: {}", path_, error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

bool is_same_measurement(const Json& report, const ReportIdentity& identity, const std::string& sha256) {
  const Json& weights = report["model"]["weights"];
  if (text_at(report, "schema_version") != kSchemaVersion) return false;
  if (text_at(report["config"], "sha256") != identity.config_sha256) return false;
  if (weights_hash_of(report) != sha256 || weights.is_null() != (identity.kind == CheckpointKind::model)) return false;
  if (!identity.graph_sha256.empty() && text_at(report["model"], "sha256") != identity.graph_sha256) return false;
  return !identity.tokens_sha256 || text_at(report["input"], "file_sha256") == *identity.tokens_sha256;
}

std::string weights_hash_of(const Json& report) {
  const Json& model = report["model"];
  return text_at(model["weights"].is_null() ? model : model["weights"], "sha256");
}

Json adapted(Json report, const SweepCheckpoint& checkpoint, CheckpointKind kind,
             const std::vector<std::pair<std::string, std::string>>& labels) {
  report["labels"] = Json::object();
  for (const auto& [name, value] : labels_of(checkpoint, labels)) report["labels"][name] = value;
  (kind == CheckpointKind::model ? report["model"] : report["model"]["weights"])["path"] = checkpoint.path;
  return report;
}

std::vector<std::pair<std::string, std::string>> labels_of(const SweepCheckpoint& checkpoint,
                                                           std::vector<std::pair<std::string, std::string>> labels) {
  labels.emplace_back("checkpoint", checkpoint.name);
  if (checkpoint.step) labels.emplace_back("step", std::to_string(*checkpoint.step));
  if (checkpoint.training_tokens) labels.emplace_back("training_tokens", std::to_string(*checkpoint.training_tokens));
  return labels;
}

}  // namespace sinkscope
