#include "config/preflight.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "files/atomic_file.h"
#include "files/checkpoint.h"
#include "files/output_paths.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;

/// `what` begins the message, `remedy` ends it.
void check_readable(const std::string& path, const char* what, const char* remedy) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  const auto refuse = [&](const std::string& reason) {
    throw InputError(fmt::format("{}: {} {}. {}", path, what, reason, remedy));
  };
  if (!fs::exists(status))
    refuse(error && error != std::errc::no_such_file_or_directory ? error.message() : "does not exist");
  if (fs::is_directory(status)) refuse("is a directory");
  if (access(path.c_str(), R_OK) != 0) refuse(fmt::format("cannot be read: {}", std::strerror(errno)));
  if (fs::is_regular_file(status) && fs::file_size(path, error) == 0) refuse("is empty");
}

void check_tokens(const std::string& path) {
  if (path == "-") return;
  check_readable(path, "the token file", "Give .jsonl, .npy, .safetensors or - (jsonl on stdin).");
}

/// All files of a checkpoint; what is in them is looked at when they are loaded.
void check_weights(const std::string& path) {
  for (const std::string& file : checkpoint_files(path))
    check_readable(file, "the weights file", "Give a .safetensors file, an index or a directory.");
}

/// Everything that the run reads.
std::vector<std::string> inputs(const MeasureConfig& config) {
  std::vector<std::string> found{config.model};
  for (const auto& path : {config.config, config.input.tokens, config.input.tensor})
    if (path) found.push_back(*path);
  if (config.input.tokens) found.push_back(*config.input.tokens + ".meta.json");
  if (!config.weights) return found;
  found.push_back(*config.weights + "/model.safetensors.index.json");
  for (const std::string& file : checkpoint_files(*config.weights)) found.push_back(file);
  if (!fs::is_directory(*config.weights)) found.push_back(*config.weights);  // an index
  if (const auto beside = config_beside(*config.weights)) found.push_back(*beside);
  return found;
}

/// The results that are asked for, by flag.
std::vector<OutputPath> outputs(const MeasureConfig& config) {
  std::vector<OutputPath> found;
  if (config.json) found.push_back({"--json", "-"});
  const std::array<std::pair<const char*, const std::optional<std::string>*>, 5> files = {
      {{"--output", &config.output},
       {"--csv", &config.csv},
       {"--markdown", &config.markdown},
       {"--benchmark-json", &config.benchmark_json},
       {"--arrays", &config.arrays}}};
  for (const auto& [flag, path] : files)
    if (*path) found.push_back({flag, **path});
  return found;
}

}  // namespace

void check_files(const MeasureConfig& config) {
  if (config.model == "-")
    throw InputError("-: a model cannot be read from stdin. Give the path of a TorchScript file (.pt).");
  check_readable(
      config.model, "the model",
      "sinkscope measures TorchScript files (.pt); scripts/export_hf.py makes one from a Hugging Face folder.");
  if (config.stream_weights && !config.weights)
    throw UsageError("--stream-weights reads a checkpoint while the model runs; give it with --weights");
  if (config.weights) check_weights(*config.weights);
  if (config.input.tokens) check_tokens(*config.input.tokens);
  if (config.input.tensor)
    check_readable(*config.input.tensor, "the tensor file", "Give a .npy or .safetensors file of [N, ...] numbers.");

  const std::vector<OutputPath> results = outputs(config);
  if (config.arrays == "-") throw UsageError("--arrays -: a binary file cannot go to stdout; name a .safetensors file");
  check_output_paths(results, inputs(config));
  for (const auto& [flag, path] : results)
    if (path != "-") AtomicFile::open(path);  // goes away uncommitted: only a test
}

bool prints_table(const MeasureConfig& config) {
  return !config.json && config.csv != "-" && config.markdown != "-" && config.benchmark_json != "-";
}

}  // namespace sinkscope
