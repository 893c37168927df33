#pragma once
// A checkpoint of a sweep, before it is measured.

#include <cstdint>
#include <optional>
#include <string>

namespace sinkscope {

/// A name cut around the digits of its step, without its tokens: "run/step" and "" for run/step600-tokens1B. What is
/// equal here is one series of steps.
struct StepPlace {
  std::string before, after;
  std::size_t width = 0;  ///< digits of a zero-padded step; 0: not padded
  // clang-tidy 14 takes the defaulted comparison for one with a null pointer.
  auto operator<=>(const StepPlace&) const = default;  // NOLINT(modernize-use-nullptr)
};

struct SweepCheckpoint {
  std::string name;  ///< percent-encoded; the report is DIR/NAME.json
  std::string path;  ///< as the user wrote it
  std::optional<std::int64_t> step, training_tokens;
  StepPlace place;  ///< of the step in the name, not encoded; empty where the name has none
};

}  // namespace sinkscope
