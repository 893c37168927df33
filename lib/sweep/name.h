#pragma once
// Names of checkpoints, and what they say.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sweep/sweep_checkpoint.h"

namespace sinkscope {

/// Paths below their common parent, without the endings .safetensors, /model.safetensors(.index.json) and .pt; the
/// files are not looked at. Not encoded.
std::vector<std::string> names_below_common_parent(const std::vector<std::string>& paths);

/// A name that is safe as a path below the sweep directory: every byte outside [A-Za-z0-9._-], and a dot or dash at the
/// beginning of a component, becomes %XX; `/` separates folders, empty components go. It can neither leave the
/// directory nor meet sweep.json. Throws UsageError for an empty name and for a component that no file system takes.
std::string encode_name(std::string_view name);

/// What a name says about training.
struct NamedStep {
  std::optional<std::int64_t> step, training_tokens;
  StepPlace place;
};

/// Finds the step in a name: step1000, stage1-step928646-tokens3896B, checkpoint-500, iter_0001000, global_step10; the
/// last one counts. With a pattern of the user's (ECMAScript): its groups `step` and `tokens`, (?<step>...) or
/// (?P<step>...), else its first and second group.
class StepReader {
 public:
  /// Throws UsageError for a pattern that is no regular expression or has no group.
  explicit StepReader(const std::optional<std::string>& pattern = {});
  ~StepReader();
  StepReader(StepReader&&) noexcept;
  /// `name`: not encoded. Numbers beyond 64 bits are none.
  NamedStep read(const std::string& name) const;

 private:
  struct Pattern;
  std::unique_ptr<Pattern> pattern_;
};

/// For a path in a Hugging Face hub cache (.../snapshots/COMMIT/...) the names of the revisions that point to that
/// commit, in alphabetical order; else empty.
std::vector<std::string> hub_revisions(const std::string& path);

}  // namespace sinkscope
