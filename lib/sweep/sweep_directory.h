#pragma once
// The files of a sweep directory: DIR/NAME.json, one report a checkpoint; DIR/sweep.json, the index; DIR/.sinkscope/,
// what a sweep remembers: hashes, failures, claims. All state is in these files, so any number of processes may share
// it.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sweep/checkpoint_data.h"
#include "sweep/sweep_checkpoint.h"

namespace sinkscope {

/// What was last found out about a checkpoint.
struct CheckpointRecord {
  std::string sha256;                 ///< empty: never hashed
  std::vector<FileSignature> files;   ///< what had that hash
  std::optional<std::string> failed;  ///< why it could not be measured
};

/// What makes a report the one that this sweep would write, beside the weights.
struct ReportIdentity {
  CheckpointKind kind = CheckpointKind::weights;
  std::string config_sha256;
  std::string graph_sha256;                  ///< of the model file whose weights are replaced; empty for whole files
  std::optional<std::string> tokens_sha256;  ///< of the token file, where there is one
};

class SweepDirectory {
 public:
  explicit SweepDirectory(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string report_path(const std::string& name) const { return path_ + "/" + name + ".json"; }
  std::string index_path() const { return path_ + "/sweep.json"; }
  std::string claims_path() const { return path_ + "/.sinkscope/claims"; }

  /// Creates the directory. Throws UsageError if it cannot be created or written.
  void create() const;

  /// Removes what killed processes have left half-written for the report of `name`; call it under the claim on it.
  void remove_leftovers(const std::string& name) const;

  CheckpointRecord read_record(const std::string& name) const;
  void write_record(const std::string& name, const CheckpointRecord& record) const;

  /// The checkpoints that the sweep consists of, for processes that merge.
  void write_plan(const nlohmann::ordered_json& plan) const;
  nlohmann::ordered_json read_plan() const;  ///< null without one

  /// The name of a checkpoint that was measured with these weights, so that twins are not measured again; empty: none.
  std::string twin_of(const std::string& sha256) const;
  void remember_twin(const std::string& sha256, const std::string& name) const;

  /// Creates the folders of the report and writes it, complete or not at all. Throws UsageError.
  void write_report(const std::string& name, const nlohmann::ordered_json& report) const;
  /// The report of `name` if it is complete and valid; empty if there is none, it is half-written or of another kind.
  std::optional<nlohmann::ordered_json> read_report(const std::string& name) const;
  /// Names of all complete reports that a sweep has written here, in alphabetical order.
  std::vector<std::string> report_names() const;

 private:
  std::string memory(const std::string& kind, const std::string& key) const;
  std::string path_;
};

/// Whether `report` is what measuring weights of this hash would give again.
bool is_same_measurement(const nlohmann::ordered_json& report, const ReportIdentity& identity,
                         const std::string& sha256);

/// The hash of the weights that a report is about: of their tensors, or of the whole model file.
std::string weights_hash_of(const nlohmann::ordered_json& report);

/// The report as it would be for another checkpoint with the same weights: its labels and path.
nlohmann::ordered_json adapted(nlohmann::ordered_json report, const SweepCheckpoint& checkpoint, CheckpointKind kind,
                               const std::vector<std::pair<std::string, std::string>>& labels);

/// `labels` and those that the sweep adds: checkpoint, step, training_tokens.
std::vector<std::pair<std::string, std::string>> labels_of(const SweepCheckpoint& checkpoint,
                                                           std::vector<std::pair<std::string, std::string>> labels);

}  // namespace sinkscope
