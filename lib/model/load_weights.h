#pragma once
// Replaces the parameters of a loaded model by the tensors of a safetensors file.

#include <string>
#include <vector>

#include "model/load_model.h"

namespace sinkscope {

struct WeightsRequest {
  std::string path;                           ///< one .safetensors file
  std::vector<std::string> allow_missing;     ///< globs: parameters that may keep the model file's values
  std::vector<std::string> allow_unexpected;  ///< globs: tensors of the file that are ignored
};

struct LoadedWeights {
  std::string sha256, dtype;
  std::int64_t casts = 0;  ///< tensors converted from another float dtype
};

/// Tensors are matched by name, exactly or after one common prefix; a tied parameter may be absent if its twin is
/// there. Values are copied into the model (placeholders of graph-only files are replaced). Nothing is changed unless
/// everything fits. Throws InputError that lists missing, unexpected and misshapen tensors, and refuses integer and
/// quantised dtypes by name.
LoadedWeights load_weights(LoadedModel& model, const WeightsRequest& request);

}  // namespace sinkscope
