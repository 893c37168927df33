#pragma once
// The content of a measure report as plain values (docs/report.md). The torch part fills it in; to_json() writes
// it; every table, CSV and page is made from the JSON, so that a saved report renders as well as a fresh one.

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metric/layout.h"
#include "metric/measurement.h"
#include "metric/metric.h"

namespace sinkscope {

inline constexpr const char* kSchemaVersion = "1.0";

struct WeightsInfo {
  std::string path, sha256, dtype;
  std::int64_t casts = 0;  ///< tensors converted from another float dtype
};

struct ModelInfo {
  std::string path, sha256;
  std::int64_t parameters = 0;
  std::string dtype;
  std::optional<std::int64_t> vocabulary;
  nlohmann::ordered_json metadata;     ///< sinkscope.json without its samples; null without one
  std::optional<WeightsInfo> weights;  ///< empty when the model file's own
};

struct InputInfo {
  std::string source;  ///< tokens | random | repeated | samples | tensor
  std::optional<std::string> path, file_sha256;
  std::string sha256;  ///< over the ids that ran: for each sequence its length, then its ids, int64 little endian
  std::int64_t sequences = 0, tokens = 0;
  std::int64_t min_length = 0, max_length = 0;
  std::optional<std::int64_t> vocabulary;
  std::optional<std::int64_t> bos_id;
  std::string bos_policy = "keep";
  std::int64_t bos_at_position_0 = 0, bos_inside = 0;
  std::map<std::int64_t, std::int64_t> position_0_ids;          ///< id -> sequences that begin with it
  std::optional<std::string> tokenizer_name, tokenizer_sha256;  ///< that made the ids; empty: unknown
  std::optional<std::string> corpus_name, corpus_sha256;        ///< from the sidecar of scripts/tokenize_hf.py
  std::optional<std::int64_t> seed;
};

struct SettingsInfo {
  std::string device, dtype, torch;
  std::optional<std::string> cuda;
  std::int64_t threads = 0, batch_tokens = 0;
};

struct RunInfo {
  double seconds = 0, tokens_per_second = 0;
  std::int64_t peak_memory_bytes = 0;
};

struct VerifyInfo {
  bool logits_bit_identical = false;
  std::int64_t sequences = 0;
  std::optional<bool> prefix_consistent;  ///< empty for models whose positions see later ones
  std::vector<std::pair<std::string, Number>> max_error;  ///< statistic -> largest error against the float64 reference
};

struct Unmatched {
  std::string path, op, reason;
};

struct Warning {
  std::string code, message;
};

struct MetricResult {
  const MetricSpec* spec = nullptr;
  Parameters parameters;
  Measurement measurement;
};

struct Report {
  bool complete = true;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string created;  ///< UTC, ISO 8601
  std::vector<std::string> argv;
  std::string preset;                       ///< empty when metrics were named
  nlohmann::ordered_json effective_config;  ///< its canonical dump is what config.sha256 hashes
  ModelInfo model;
  InputInfo input;
  SettingsInfo settings;
  RunInfo run;
  std::optional<VerifyInfo> verify;
  Layout layout;
  std::vector<Unmatched> unmatched;
  std::vector<MetricResult> metrics;
  std::vector<Warning> warnings;
  bool numerical_failure = false;  ///< exit 5; in the JSON it shows as `rejected` counts and nulls
};

/// The report as JSON, keys in the order of docs/cli.md. Undefined and non-finite numbers are null.
nlohmann::ordered_json to_json(const Report& report);

/// SHA-256 of the configuration's canonical text: keys sorted, no spaces.
std::string sha256_of_config(const nlohmann::ordered_json& effective);

/// The text of a report: objects over several lines, lists of numbers and table rows on one. Doubles read back exactly.
std::string dump(const nlohmann::ordered_json& report);

}  // namespace sinkscope
