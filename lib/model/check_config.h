#pragma once
// Whether a checkpoint was made for the computation that a model's graph does.

#include <string>
#include <vector>

#include "model/load_model.h"

namespace sinkscope {

/// Compares a config.json beside the weights with the configuration in the model's metadata; does nothing where one of
/// them is absent. Throws InputError that lists the keys that change the computation and differ, but for those that a
/// glob of `allowed` matches.
void check_config(const LoadedModel& model, const std::string& weights, const std::vector<std::string>& allowed);

}  // namespace sinkscope
