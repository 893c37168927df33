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

/// The results that are asked for, by flag.
std::vector<std::pair<const char*, std::string>> outputs(const MeasureConfig& config) {
  std::vector<std::pair<const char*, std::string>> found;
  if (config.json) found.emplace_back("--json", "-");
  const std::array<std::pair<const char*, const std::optional<std::string>*>, 5> files = {
      {{"--output", &config.output},
       {"--csv", &config.csv},
       {"--markdown", &config.markdown},
       {"--benchmark-json", &config.benchmark_json},
       {"--arrays", &config.arrays}}};
  for (const auto& [flag, path] : files)
    if (*path) found.emplace_back(flag, **path);
  return found;
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error) && !error) return true;
  return fs::absolute(a).lexically_normal() == fs::absolute(b).lexically_normal();
}

void check_output(const MeasureConfig& config, const char* flag, const std::string& path) {
  if (path == "-") {
    if (std::string_view(flag) == "--arrays")
      throw UsageError("--arrays -: a binary file cannot go to stdout; name a .safetensors file");
    return;
  }
  for (const auto& input : {std::optional(config.model), config.weights, config.input.tokens, config.input.tensor})
    if (input && *input != "-" && same_file(path, *input) && fs::is_regular_file(path))
      throw UsageError(fmt::format("{} {}: would overwrite an input of this run; name another file", flag, path));
  AtomicFile::open(path);  // goes away uncommitted: only a test
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

  const auto results = outputs(config);
  for (std::size_t i = 0; i < results.size(); ++i)
    for (std::size_t j = i + 1; j < results.size(); ++j) {
      const auto& [flag, path] = results[i];
      const auto& [other_flag, other] = results[j];
      if (path == "-" ? other == "-" : other != "-" && same_file(path, other) && path != "/dev/null")
        throw UsageError(fmt::format("{} and {} both write to {}; give another file to one of them", flag, other_flag,
                                     path == "-" ? "stdout" : path));
    }
  for (const auto& [flag, path] : results) check_output(config, flag, path);
}

bool prints_table(const MeasureConfig& config) {
  return !config.json && config.csv != "-" && config.markdown != "-" && config.benchmark_json != "-";
}

}  // namespace sinkscope
