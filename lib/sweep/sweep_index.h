#pragma once
// sweep.json: one row a checkpoint, made from the files of the sweep directory alone, so that it can be made again at
// any time, by any process.

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sweep/sweep_config.h"
#include "sweep/sweep_directory.h"

namespace sinkscope {

struct SweepRow {
  std::string name;
  std::optional<std::int64_t> step, training_tokens;
  std::optional<std::string> report;  ///< relative to the directory
  std::optional<std::string> sha256, duplicate_of;
  std::string status = "pending";  ///< done | failed | missing | duplicate | pending
  std::optional<std::string> message;
  bool expected = false;           ///< missing, and --expect-steps names it
  bool numerical_failure = false;  ///< the report has rejected values
};

/// A headline value of a report; empty: null.
using Headlines = std::map<std::string, std::optional<double>>;

struct SweepIndex {
  nlohmann::ordered_json model;  ///< path and sha256 of the graph; null where the checkpoints are whole model files
  std::vector<SweepRow> rows;    ///< sorted by step, those without one last, then by name
  std::map<std::string, Headlines> headlines;  ///< by name, of the rows with a report
  std::map<std::string, std::string> units;    ///< of the metrics
};

/// What a sweep consists of, as the directory remembers it.
nlohmann::ordered_json plan_json(const SweepPlan& plan, const nlohmann::ordered_json& model);

/// Reads plan, records and every report of the directory. Reports that a sweep wrote and that are not in the plan keep
/// their row. `expected_steps` as in missing_steps(); empty: those of the plan.
SweepIndex read_index(const SweepDirectory& directory, const std::vector<std::int64_t>& expected_steps = {});

/// Cheaper, for the time between: rows of `index` brought up to date from the records, without reading reports.
void refresh_index(SweepIndex& index, const SweepDirectory& directory);

/// The content of sweep.json.
nlohmann::ordered_json to_json(const SweepIndex& index);

/// A row's part of sweep.json.
nlohmann::ordered_json to_json(const SweepRow& row);

/// Rows with that status.
std::size_t count(const SweepIndex& index, const std::string& status);

}  // namespace sinkscope
