#pragma once
// The files of a measure run: -o, --json, --csv, --markdown, --benchmark-json, --arrays.

#include <nlohmann/json.hpp>
#include <optional>

#include "config/measure_config.h"
#include "files/atomic_file.h"

namespace sinkscope {

/// Opened before the run, so that a place that cannot be written costs no run; written once, when the results are
/// there.
class Outputs {
 public:
  /// Throws UsageError that names the path.
  explicit Outputs(const MeasureConfig& config);

  /// Writes the report to every file that was asked for, each complete or untouched. If one fails the others are still
  /// written, then the first failure is thrown.
  void write_files(const nlohmann::ordered_json& report);

  /// Writes to stdout what was asked for there in place of the table, if anything was. Apart from the files, since the
  /// reader of a pipe may be gone, which ends the program.
  void print(const nlohmann::ordered_json& report);

  /// The file of --arrays, for write_safetensors(); null without the flag.
  AtomicFile* arrays() { return arrays_ ? &*arrays_ : nullptr; }

 private:
  void write(const nlohmann::ordered_json& report, bool to_stdout);

  std::optional<AtomicFile> report_, stdout_, csv_, markdown_, benchmark_json_, arrays_;
  bool quiet_ = false;
};

}  // namespace sinkscope
