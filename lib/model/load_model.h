#pragma once
// Loads a TorchScript file in eval mode, with what the file says about itself.

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/module.h>

namespace sinkscope {

struct LoadedModel {
  torch::jit::Module module;  ///< in eval mode, on the CPU
  std::string path;
  std::string sha256;               ///< of the file's bytes
  nlohmann::ordered_json metadata;  ///< content of sinkscope.json; null without one
  std::int64_t parameters = 0;      ///< elements; tied parameters counted once
  std::string dtype;                ///< of most floating-point parameters: float32, bfloat16, float16, float64
  bool external_weights = false;    ///< parameters are stride-0 placeholders: --weights is needed
  std::set<std::string> external;   ///< names of the parameters and buffers that were placeholders in the file

  std::optional<std::int64_t> vocabulary() const;
  std::optional<std::int64_t> attention_sites() const;  ///< what the exporter counted in one run
  std::optional<std::int64_t> positions()
      const;  ///< longest sequence that the position table or the configuration allows
};

/// Throws InputError for a missing, empty or truncated file, and for anything that is not TorchScript, saying what it
/// is instead.
LoadedModel load_model(const std::string& path, const std::optional<std::string>& known_sha256 = {});

/// A tensor of which a single element exists: what a graph-only file has in place of a parameter.
bool is_placeholder(const at::Tensor& tensor);
at::Tensor placeholder(at::IntArrayRef shape, at::ScalarType type);

/// Name of a floating-point type as reports write it: float32, bfloat16, float16, float64, or c10's name.
std::string dtype_name(at::ScalarType type);

/// The last, telling line of an exception thrown by the interpreter (the cause stands at the end of what()).
std::string cause_of(const std::exception& error);

/// Whether torch ran out of the device's or the machine's memory.
bool is_out_of_memory(const std::exception& error);

}  // namespace sinkscope
