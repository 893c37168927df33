#pragma once
// --shard: which part of the checkpoints a process measures.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace sinkscope {

/// A variable of the environment; empty where it is unset.
using Environment = std::function<std::optional<std::string>(const char* name)>;
Environment process_environment();

struct Shard {
  std::int64_t index = 0, count = 1;
  /// The part [begin, end) of `total` checkpoints in their order; the parts differ by at most one.
  std::int64_t begin(std::int64_t total) const { return total * index / count; }
  std::int64_t end(std::int64_t total) const { return total * (index + 1) / count; }
};

/// `text`: none, i/n (from 0), slurm (the array task: (ID - MIN) / STEP of COUNT) or torchrun (RANK of WORLD_SIZE).
/// Throws UsageError for another text, outside of Slurm or torchrun, and for a Slurm array with irregular indices.
Shard parse_shard(const std::string& text, const Environment& environment);

/// What to say where `--shard none` runs in an array task or a torchrun rank, which all sweep everything; empty
/// elsewhere.
std::optional<std::string> shard_hint(const std::string& text, const Environment& environment);

/// "shard 3/8: 20 of 154".
std::string shard_line(const Shard& shard, std::int64_t total);

}  // namespace sinkscope
