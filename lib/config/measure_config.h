#pragma once
// The effective configuration of a measure run: flags over SINKSCOPE_* environment over --config file over preset over
// default (docs/cli.md). Plain values; the torch part translates dtype and device.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metric/metric.h"

namespace sinkscope {

/// Tokens of random and repeated sequences without --length.
inline constexpr std::int64_t kDrawnLength = 64;

struct InputConfig {
  std::optional<std::string> tokens;           ///< .jsonl, .npy, .safetensors or - (jsonl on stdin)
  std::optional<std::int64_t> random_tokens;   ///< N sequences of uniform ids
  std::optional<std::int64_t> repeated_token;  ///< N sequences, each one random id repeated
  std::optional<std::string> tensor;           ///< .npy or .safetensors [N, ...], for models that take no ids
  std::int64_t seed = 0;
  std::optional<std::int64_t> length;      ///< crops (default: uncropped; 64 for random and repeated tokens)
  std::optional<std::int64_t> vocabulary;  ///< of random and repeated ids
  std::optional<std::int64_t> limit;       ///< first N sequences
  std::string bos = "keep";                ///< auto | keep | none | an id
  std::optional<std::int64_t> batch;       ///< sequences a batch; default: as many as fit in 8192 tokens
};

enum class Device { automatic, cpu, cuda };
enum class DType { keep, float32, bfloat16, float16 };
enum class Logits { all, last, none };

struct SelectedMetric {
  const MetricSpec* spec = nullptr;
  Parameters parameters;
};

struct MeasureConfig {
  std::string model;
  std::optional<std::string> weights;
  std::vector<std::string> allow_missing, allow_unexpected;  ///< globs over tensor names
  std::vector<std::string> allow_config;                     ///< globs over keys of a config.json
  bool stream_weights = false;                               ///< read parameters when the run reaches them
  bool runs_model = true;  ///< false: only the graph is looked at, so it needs no weights
  InputConfig input;

  std::optional<std::string> preset;  ///< empty when --metric named the metrics
  std::vector<SelectedMetric> metrics;
  std::optional<std::string> protocol;  ///< of a paper preset: the paper; empty for quick, full and named metrics
  std::vector<std::string> protocol_deviations;  ///< of a paper preset, one sentence each; empty: none
  std::optional<std::string> layers;             ///< "0-7,12"
  std::optional<std::string> sites;              ///< glob over site paths
  std::optional<std::int64_t> expect_sites;
  std::vector<std::pair<std::string, std::string>> labels;

  Device device = Device::automatic;
  int device_index = 0;
  DType dtype = DType::keep;
  std::optional<std::int64_t> threads;
  Logits logits = Logits::all;
  bool verify = false;
  bool dry_run = false;
  bool dump_config = false;  ///< print the configuration as TOML and run nothing

  std::optional<std::string> config;  ///< the file of --config, already read
  std::optional<std::string> output, csv, markdown, arrays, benchmark_json;
  bool json = false;

  bool quiet = false, verbose = false, color = true, progress = true;
};

/// Union of what the selected metrics need.
Needs needs_of(const MeasureConfig& config);

/// The part of the configuration that decides numbers: preset, metrics with parameters, input options, layers, sites,
/// dtype, weights options; not output files, progress or device.
nlohmann::ordered_json effective_json(const MeasureConfig& config);

/// The effective configuration as TOML: `--config` with it gives the same configuration again, whatever the presets
/// become.
std::string to_toml(const MeasureConfig& config);

/// What only the input can tell, in the form of protocol_deviations: fewer `sequences` than the protocol of a paper
/// preset asks for, and how many of them lack the BOS (`without_bos`) that the model's tokenizer puts first.
std::vector<std::string> input_deviations(const MeasureConfig& config, std::int64_t sequences,
                                          std::int64_t without_bos);

}  // namespace sinkscope
