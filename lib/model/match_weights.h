#pragma once
// Finds for every parameter of a model the tensors of a checkpoint that it is made of.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "files/checkpoint.h"
#include "files/weight_map.h"
#include "model/load_model.h"

namespace sinkscope {

struct WeightsRequest {
  std::string path;                              ///< a .safetensors file, an index or a directory
  std::vector<std::string> allow_missing;        ///< globs: parameters that may keep the model file's values
  std::vector<std::string> allow_unexpected;     ///< globs: tensors of the checkpoint that are ignored
  std::vector<std::string> allow_config = {};    ///< globs: keys of a config.json beside them that may differ
  std::optional<std::string> known_sha256 = {};  ///< of all its tensors, where they were hashed before
};

/// One parameter or buffer and what fills it.
struct WeightMatch {
  std::string name;       ///< in the graph
  at::Tensor target;      ///< its present value; of a graph-only file a placeholder
  Recipe recipe;          ///< tensor names as in the checkpoint
  bool external = false;  ///< it has no value of its own: the file holds the graph only
};

struct MatchedWeights {
  std::shared_ptr<const Checkpoint> checkpoint;
  std::vector<WeightMatch> matches;  ///< those of one recipe are one tensor
  std::string dtype;                 ///< of most elements that are read
  std::int64_t casts = 0;            ///< tensors of the checkpoint that have another dtype than their target
};

/// A parameter is made as the model's `weight_map` says, else of the tensor of its name; in both cases names may have
/// one common prefix more or less. A tied parameter may be absent if its twin is there; buffers that the checkpoint
/// does not have keep their values. Nothing is changed. Throws InputError that lists missing, unexpected and misshapen
/// tensors, those of an integer or quantised dtype, twins that differ, and keys of a config.json beside the weights
/// that say another computation than the model's metadata.
MatchedWeights match_weights(const LoadedModel& model, const WeightsRequest& request);

/// The torch dtype of a safetensors one; empty for all but F32, F16, BF16 and F64.
std::optional<at::ScalarType> float_type(const std::string& dtype);

}  // namespace sinkscope
