#include "sweep/shard.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "base/error.h"

namespace sinkscope {
namespace {

std::optional<std::int64_t> integer(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::int64_t variable(const Environment& environment, const std::string& shard, const char* name,
                      std::optional<std::int64_t> otherwise = {}) {
  const auto text = environment(name);
  if (!text && otherwise) return *otherwise;
  if (!text)
    throw UsageError(fmt::format(
        "--shard {}: {} is not set; this is for {}", shard, name,
        shard == "slurm" ? "a task of a Slurm array (sbatch --array=0-7)" : "a process that torchrun has started"));
  const auto value = integer(*text);
  if (!value || *value < 0) throw UsageError(fmt::format("--shard {}: {}={} is no number", shard, name, *text));
  return *value;
}

Shard slurm_shard(const Environment& environment) {
  const auto of = [&](const char* name, std::optional<std::int64_t> otherwise = {}) {
    return variable(environment, "slurm", name, otherwise);
  };
  const std::int64_t id = of("SLURM_ARRAY_TASK_ID"), least = of("SLURM_ARRAY_TASK_MIN"),
                     most = of("SLURM_ARRAY_TASK_MAX"), count = of("SLURM_ARRAY_TASK_COUNT"),
                     step = of("SLURM_ARRAY_TASK_STEP", 1);
  const bool regular = step > 0 && id >= least && id <= most && (most - least) / step + 1 == count &&
                       (most - least) % step == 0 && (id - least) % step == 0;
  if (!regular)
    throw UsageError(fmt::format(
        "--shard slurm: the array has {} tasks from {} to {} with step {}, and this is task {}: its indices "
        "are not regular, so nothing says which part is whose. Use --array=0-N, or --shard i/n.",
        count, least, most, step, id));
  return {(id - least) / step, count};
}

Shard checked(Shard shard, const std::string& text) {
  if (shard.count < 1 || shard.index < 0 || shard.index >= shard.count)
    throw UsageError(
        fmt::format("--shard {}: part {} of {} does not exist; parts count from 0", text, shard.index, shard.count));
  return shard;
}

}  // namespace

Environment process_environment() {
  return [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
  };
}

Shard parse_shard(const std::string& text, const Environment& environment) {
  if (text == "none") return {};
  if (text == "slurm") return slurm_shard(environment);
  if (text == "torchrun")
    return checked({variable(environment, text, "RANK"), variable(environment, text, "WORLD_SIZE")}, text);
  const std::size_t slash = text.find('/');
  const auto index = integer(text.substr(0, slash));
  const auto count = slash == std::string::npos ? std::nullopt : integer(text.substr(slash + 1));
  if (!index || !count) throw UsageError(fmt::format("--shard {}: i/n, slurm, torchrun or none is needed", text));
  return checked({*index, *count}, text);
}

std::optional<std::string> shard_hint(const std::string& text, const Environment& environment) {
  if (text != "none") return std::nullopt;
  if (const auto id = environment("SLURM_ARRAY_TASK_ID"))
    return fmt::format(
        "this is task {} of a Slurm array, and every task sweeps all checkpoints; --shard slurm gives each "
        "its part",
        *id);
  const auto world = environment("WORLD_SIZE");
  if (world && environment("RANK") && integer(*world).value_or(1) > 1)
    return fmt::format(
        "this is one of {} ranks, and every rank sweeps all checkpoints; --shard torchrun gives each its "
        "part",
        *world);
  return std::nullopt;
}

std::string shard_line(const Shard& shard, std::int64_t total) {
  return fmt::format("shard {}/{}: {} of {}", shard.index, shard.count, shard.end(total) - shard.begin(total), total);
}

}  // namespace sinkscope
