#pragma once
// The sweep itself: one checkpoint after the other, in as many processes as share the directory. How a checkpoint is
// measured comes from outside, so none of this needs libtorch.

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "sweep/claim.h"
#include "sweep/sweep_config.h"
#include "sweep/sweep_directory.h"
#include "sweep/sweep_index.h"

namespace sinkscope {

struct SweepHooks {
  /// The report of a checkpoint; empty: interrupted. InputError: this checkpoint fails, the rest goes on. Anything else
  /// ends the sweep.
  std::function<std::optional<nlohmann::ordered_json>(const SweepCheckpoint&, const HashedCheckpoint&)> measure;
  std::function<bool()> interrupted = [] { return false; };
  /// Checkpoints of this process that are finished, of all it has.
  std::function<void(std::size_t done, std::size_t total)> progress = [](auto, auto) {};
  /// One line about a checkpoint: what went wrong, or (detail) what was done.
  std::function<void(const std::string& text, bool detail)> say = [](const auto&, bool) {};
  Claims::Timing claims;
};

struct SweepResult {
  SweepIndex index;        ///< as it was written at the end
  std::size_t failed = 0;  ///< of this process's checkpoints
  bool interrupted = false;
};

/// Measures this process's part of the plan into config.directory and writes sweep.json. The next checkpoint is read
/// and hashed while the present one runs. What another process is at work on comes last, and is waited for. Throws
/// UsageError where the directory cannot be written; what is finished by then stays.
SweepResult sweep_checkpoints(const SweepConfig& config, const SweepPlan& plan, const ReportIdentity& identity,
                              const nlohmann::ordered_json& model, const SweepHooks& hooks);

/// `sweep --merge`: sweep.json from the files in the directory. Throws UsageError where it holds nothing of a sweep.
SweepIndex merge_sweep(const SweepConfig& config);

}  // namespace sinkscope
