#pragma once
// Two Hugging Face configurations of what should be one computation: that of the model file, and the config.json beside
// a checkpoint.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace sinkscope {

struct ConfigDifference {
  std::string key;         ///< as the checkpoint writes it; "rope_parameters.rope_theta" for a nested one
  std::string same_as;     ///< its common name: "rope_theta"
  std::string checkpoint;  ///< its value there, as JSON
  std::string model;       ///< its value in the model file, as JSON
};

/// Keys that change the computation and whose values differ, alphabetically by common name. Keys that only one of them
/// has are not compared: what is absent is some version's default. Old and new ways to write the same are understood
/// (n_embd and hidden_size; rope_theta with rope_scaling, and rope_parameters), and so is a nested text_config.
std::vector<ConfigDifference> config_differences(const nlohmann::ordered_json& checkpoint,
                                                 const nlohmann::ordered_json& model);

/// Reads a config.json. Throws InputError that names the file if it is not a JSON object.
nlohmann::ordered_json read_model_config(const std::string& path);

}  // namespace sinkscope
