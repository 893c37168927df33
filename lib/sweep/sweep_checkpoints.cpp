#include "sweep/sweep_checkpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <future>
#include <thread>
#include <utility>

#include "base/error.h"
#include "files/atomic_file.h"
#include "report/report.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr const char* kIndexClaim = "index";
constexpr auto kIndexEvery = std::chrono::seconds(10);  // how old sweep.json may be while a sweep runs
constexpr auto kPoll = std::chrono::milliseconds(200);  // between two looks at what others are at work on

/// The hash of a checkpoint; what is remembered counts while size, time and inode of every file are the same.
HashedCheckpoint hash_checkpoint(const std::string& path, CheckpointKind kind, const CheckpointRecord& record,
                                 bool rehash) {
  HashedCheckpoint hashed{signatures_of(path, kind), ""};
  if (!rehash && !record.sha256.empty() && record.files == hashed.files) {
    hashed.sha256 = record.sha256;
    return hashed;
  }
  hashed.sha256 = sha256_of_checkpoint(path, kind);
  return hashed;
}

/// A checkpoint that this process has claimed; its hash is on its way.
struct Job {
  std::size_t index;
  Claim claim;
  std::future<HashedCheckpoint> hash;
};

class Sweeper {
 public:
  Sweeper(const SweepConfig& config, const SweepPlan& plan, const ReportIdentity& identity, const SweepHooks& hooks)
      : config_(config),
        plan_(plan),
        identity_(identity),
        hooks_(hooks),
        directory_(config.directory),
        claims_(directory_.claims_path(), hooks.claims) {}

  SweepResult run(const Json& model) {
    directory_.write_plan(plan_json(plan_, model));
    write_index();
    const auto total = static_cast<std::int64_t>(plan_.checkpoints.size());
    const std::int64_t begin = plan_.shard.begin(total), end = plan_.shard.end(total);
    for (std::int64_t i = begin; i < end; ++i) waiting_.push_back(static_cast<std::size_t>(i));
    const std::size_t all = waiting_.size();
    hooks_.progress(0, all);
    start_next();
    while (next_ || !busy_.empty()) {
      if (hooks_.interrupted()) break;
      if (!next_) {  // only what others are at work on is left
        std::this_thread::sleep_for(kPoll);
        waiting_.swap(busy_);
        start_next();
        continue;
      }
      Job job = std::move(*next_);
      next_.reset();
      if (!process(job)) continue;
      ++finished_;
      hooks_.progress(finished_, all);
      if (Clock::now() - written_ > kIndexEvery) refresh();
    }
    result_.interrupted = finished_ < all;
    if (next_) next_->hash.wait();
    next_.reset();
    write_index();
    return std::move(result_);
  }

 private:
  /// Claims the next checkpoint that nobody else is at work on and begins to read it.
  void start_next() {
    while (!next_ && !waiting_.empty()) {
      const std::size_t index = waiting_.front();
      waiting_.pop_front();
      const SweepCheckpoint& checkpoint = plan_.checkpoints[index];
      std::optional<Claim> claim = claims_.take("checkpoint " + checkpoint.name);
      if (!claim) {
        busy_.push_back(index);
        continue;
      }
      next_ =
          Job{index, std::move(*claim),
              std::async(std::launch::async,
                         [path = checkpoint.path, kind = plan_.kind, record = directory_.read_record(checkpoint.name),
                          rehash = config_.rehash] { return hash_checkpoint(path, kind, record, rehash); })};
    }
  }

  /// Whether the checkpoint is settled: finished or failed. Else it is left to a later look.
  bool process(Job& job) {
    const SweepCheckpoint& checkpoint = plan_.checkpoints[job.index];
    HashedCheckpoint hashed;
    try {
      hashed = job.hash.get();
      start_next();
      if (settle_without_measuring(checkpoint, hashed)) return true;
      const std::optional<Claim> weights = claims_.take("weights " + hashed.sha256);
      if (!weights) {  // another name of the same weights is being measured
        busy_.push_back(job.index);
        return false;
      }
      if (settle_without_measuring(checkpoint, hashed)) return true;
      directory_.remove_leftovers(checkpoint.name);
      const auto start = Clock::now();
      const std::optional<Json> report = hooks_.measure(checkpoint, hashed);
      if (!report) return false;
      check_unchanged(checkpoint.path, plan_.kind, hashed);
      if (!job.claim.lives() && settle_without_measuring(checkpoint, hashed)) return true;  // stopped in between
      directory_.write_report(checkpoint.name, *report);
      directory_.remember_twin(hashed.sha256, checkpoint.name);
      remember(checkpoint, hashed);
      hooks_.say(fmt::format("{}: measured in {:.2f} s", checkpoint.name,
                             std::chrono::duration<double>(Clock::now() - start).count()),
                 true);
    } catch (const InputError& error) {
      directory_.write_record(checkpoint.name, {.sha256 = "", .files = {}, .failed = error.what()});
      hooks_.say(fmt::format("{}: failed: {}", checkpoint.name, error.what()), false);
      ++result_.failed;
      start_next();
    }
    return true;
  }

  /// A finished report is kept; one of the same weights under another name is copied.
  bool settle_without_measuring(const SweepCheckpoint& checkpoint, const HashedCheckpoint& hashed) {
    for (const std::string& name : {checkpoint.name, directory_.twin_of(hashed.sha256)}) {
      if (name.empty()) continue;
      const auto report = directory_.read_report(name);
      if (!report || !is_same_measurement(*report, identity_, hashed.sha256)) continue;
      const Json wanted = adapted(*report, checkpoint, plan_.kind, config_.settings.labels);
      if (name != checkpoint.name || wanted != *report) {
        directory_.remove_leftovers(checkpoint.name);
        directory_.write_report(checkpoint.name, wanted);
      }
      if (directory_.twin_of(hashed.sha256).empty()) directory_.remember_twin(hashed.sha256, name);
      remember(checkpoint, hashed);
      hooks_.say(fmt::format("{}: {}", checkpoint.name,
                             name == checkpoint.name ? "finished before" : fmt::format("the same weights as {}", name)),
                 true);
      return true;
    }
    return false;
  }

  void remember(const SweepCheckpoint& checkpoint, const HashedCheckpoint& hashed) {
    const CheckpointRecord before = directory_.read_record(checkpoint.name);
    if (before.sha256 != hashed.sha256 || before.files != hashed.files || before.failed)
      directory_.write_record(checkpoint.name, {hashed.sha256, hashed.files, {}});
  }

  /// One process at a time reads the files and writes the index, so that the last one to do so has seen everything.
  void write_index() {
    const auto give_up = Clock::now() + (hooks_.interrupted() ? std::chrono::seconds(2) : std::chrono::seconds(60));
    std::optional<Claim> claim = claims_.take(kIndexClaim);
    for (; !claim && Clock::now() < give_up; claim = claims_.take(kIndexClaim))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    result_.index = read_index(directory_);
    commit_index();
  }

  /// The same while the sweep runs: without reading reports, and not where another process is about to.
  void refresh() {
    if (const std::optional<Claim> claim = claims_.take(kIndexClaim)) {
      refresh_index(result_.index, directory_);
      commit_index();
    }
  }

  void commit_index() {
    directory_.remove_leftovers("sweep");
    AtomicFile::open(directory_.index_path()).commit(dump(to_json(result_.index)));
    written_ = Clock::now();
  }

  const SweepConfig& config_;
  const SweepPlan& plan_;
  const ReportIdentity& identity_;
  const SweepHooks& hooks_;
  SweepDirectory directory_;
  Claims claims_;
  std::deque<std::size_t> waiting_, busy_;  ///< not begun; left to another process
  std::optional<Job> next_;
  std::size_t finished_ = 0;
  Clock::time_point written_;
  SweepResult result_;
};

}  // namespace

SweepResult sweep_checkpoints(const SweepConfig& config, const SweepPlan& plan, const ReportIdentity& identity,
                              const Json& model, const SweepHooks& hooks) {
  SweepDirectory(config.directory).create();
  return Sweeper(config, plan, identity, hooks).run(model);
}

SweepIndex merge_sweep(const SweepConfig& config) {
  const SweepDirectory directory(config.directory);
  std::error_code error;
  if (!std::filesystem::is_directory(config.directory, error))
    throw UsageError(fmt::format("--merge {}: no such directory", config.directory));
  SweepIndex index =
      read_index(directory, config.expect_steps ? parse_steps(*config.expect_steps) : std::vector<std::int64_t>{});
  if (index.rows.empty())
    throw UsageError(fmt::format("--merge {}: holds nothing that `sinkscope sweep` has written", config.directory));
  AtomicFile::open(directory.index_path()).commit(dump(to_json(index)));
  return index;
}

}  // namespace sinkscope
