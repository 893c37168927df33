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
  std::string checkpoint;  ///< its value there, as JSON; "V, by default," where it does not have the key
  std::string model;       ///< its value in the model file, as JSON
};

/// Keys that may change the computation and whose values differ, alphabetically by common name; those of nested objects
/// are parted by dots. All are compared but for those known to change nothing: training, generation, labels, names,
/// versions, dtypes, ids of special tokens, what only bounds the length. A key that the model lacks is not compared,
/// nor one that `checkpoint` lacks, unless it is known what that means. Old and new ways to write the same are
/// understood (n_embd and hidden_size; rope_theta with rope_scaling, and rope_parameters), and so is a nested
/// text_config. `metadata` is that of the model file, with the objects `config`, and if there `config_defaults` (absent
/// key -> what it means) and `config_written` (key -> what the file that the model was made from said, and `config`
/// says otherwise).
std::vector<ConfigDifference> config_differences(const nlohmann::ordered_json& checkpoint,
                                                 const nlohmann::ordered_json& metadata);

/// Reads a config.json. Throws InputError that names the file if it is not a JSON object.
nlohmann::ordered_json read_model_config(const std::string& path);

}  // namespace sinkscope
