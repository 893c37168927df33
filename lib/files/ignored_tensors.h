#pragma once
// Tensors that the makers of a model say a checkpoint may hold in excess: `ignored_tensors` of sinkscope.json.

#include <nlohmann/json_fwd.hpp>
#include <regex>
#include <string>
#include <vector>

namespace sinkscope {

/// Regular expressions, each to be found anywhere in a tensor's name.
class IgnoredTensors {
 public:
  IgnoredTensors() = default;
  /// Throws InputError for what is no list of expressions, with the one that is none.
  explicit IgnoredTensors(const nlohmann::ordered_json& patterns);

  bool contains(const std::string& name) const;

 private:
  std::vector<std::regex> patterns_;
};

}  // namespace sinkscope
