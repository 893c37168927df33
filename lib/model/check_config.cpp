#include "model/check_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "config/selection.h"
#include "files/checkpoint.h"
#include "files/model_config.h"

namespace sinkscope {

void check_config(const LoadedModel& model, const std::string& weights, const std::vector<std::string>& allowed) {
  const auto path = config_beside(weights);
  if (!path || !model.metadata.is_object() || !model.metadata.contains("config") ||
      !model.metadata.at("config").is_object())
    return;
  std::string text;
  for (const ConfigDifference& d : config_differences(read_model_config(*path), model.metadata)) {
    const bool pass = std::any_of(allowed.begin(), allowed.end(), [&](const std::string& glob) {
      return glob_matches(glob, d.key) || glob_matches(glob, d.same_as);
    });
    if (!pass) text += fmt::format("\n  {}: {} there, {} in the model", d.key, d.checkpoint, d.model);
  }
  if (!text.empty())
    throw InputError(
        fmt::format("{}: is of another computation than the graph of {}. Export the model again, or allow "
                    "it with --allow-config KEY.{}",
                    *path, model.path, text));
}

}  // namespace sinkscope
