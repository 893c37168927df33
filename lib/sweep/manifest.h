#pragma once
// The checkpoints of a sweep: from paths, globs or a manifest.

#include <optional>
#include <string>
#include <vector>

#include "sweep/sweep_checkpoint.h"

namespace sinkscope {

/// The paths as given, with globs that the shell has not expanded (quoted ones) expanded, in the order of their names.
/// Throws InputError for a glob without a match.
std::vector<std::string> expand_globs(const std::vector<std::string>& paths);

/// Names, steps and tokens of the checkpoints at `paths`, sorted by step (those without one last), then by name. A path
/// given twice counts once. Throws UsageError for two paths with one name, and for a pattern that matches none.
std::vector<SweepCheckpoint> name_checkpoints(const std::vector<std::string>& paths,
                                              const std::optional<std::string>& step_regex);

/// The checkpoints of a manifest: a JSON object a line, `path` and optionally `name`, `step` and `training_tokens`,
/// which else come from the path. A relative path is looked for beside the manifest, then in the working directory.
/// Sorted as above. Throws InputError that names the line.
std::vector<SweepCheckpoint> read_manifest(const std::string& file, const std::optional<std::string>& step_regex);

}  // namespace sinkscope
