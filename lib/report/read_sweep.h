#pragma once
// Saved sweeps: a directory with sweep.json and one report a checkpoint.

#include <optional>
#include <string>
#include <vector>

namespace sinkscope {

struct SweepEntry {
  std::string name;
  std::string report;   ///< path of its report, that of its twin for a duplicate; empty: there is none
  std::string problem;  ///< why there is none: "failed: ...", "pending"
};

/// Whether `path` is a directory, which as an operand stands for a sweep.
bool is_directory(const std::string& path);

/// The checkpoints that sweep.json lists, in its order. Throws InputError that names the file: no sweep.json, not JSON,
/// another kind, another major schema version, an entry without a name, a name twice.
std::vector<SweepEntry> read_sweep(const std::string& directory);

}  // namespace sinkscope
