#pragma once
// Replaces the parameters of a loaded model by the tensors of a checkpoint.

#include <string>
#include <vector>

#include "model/match_weights.h"
#include "model/weight_stream.h"

namespace sinkscope {

struct LoadedWeights {
  std::string sha256;      ///< of all tensors of the checkpoint
  std::string dtype;       ///< of most of them
  std::int64_t casts = 0;  ///< tensors converted from another float dtype
  std::vector<std::string> files;
};

/// Puts the weights in place, in the dtype and on the device that the parameters have; may be called again with another
/// checkpoint. Values are copied into the model; those of a graph-only file replace its placeholders, and stay in the
/// mapped files where that is possible. With a `stream` parameters are not read at all: the stream is told where they
/// are, and the model keeps placeholders. Nothing is changed unless everything fits. Throws as match_weights does.
LoadedWeights load_weights(LoadedModel& model, const WeightsRequest& request, WeightStream* stream = nullptr);

}  // namespace sinkscope
