#include "sweep/claim.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/sha256.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// When a process started, in ticks since boot: process numbers are used again. Empty: there is none, or it has ended
/// and only its parent has not asked yet.
std::string start_of_process(pid_t process) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", process));
  // "pid (name) state ppid ...": the name may hold anything, so count from its end; the start is field 22.
  std::size_t at = line.rfind(')');
  if (at != std::string::npos && line.compare(at, 3, ") Z") == 0) return "";
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = line.find(' ', at + 1);
  return at == std::string::npos ? "" : line.substr(at + 1, line.find(' ', at + 1) - at - 1);
}

/// Processes whose numbers mean the same: one boot of one machine, one container.
std::string machine() {
  std::error_code error;
  return first_line("/proc/sys/kernel/random/boot_id") + " " + fs::read_symlink("/proc/self/ns/pid", error).string();
}

std::string own_identity() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return json{
      {"machine", machine()}, {"host", host}, {"process", ::getpid()}, {"started", start_of_process(::getpid())}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

/// The holder ran on this machine and is gone for certain.
bool holder_is_gone(const std::string& identity) {
  const json holder = json::parse(identity, nullptr, /*allow_exceptions=*/false);
  if (!holder.is_object() || holder.value("machine", "") != machine()) return false;
  const auto process = holder.find("process");
  if (process == holder.end() || !process->is_number_integer()) return false;
  return start_of_process(process->get<pid_t>()) != holder.value("started", "");
}

struct Look {
  bool there = false;
  std::string identity, time;
};

/// Opened, not only asked for: a network file system answers from its cache else.
Look look_at(const std::string& path) {
  Look look;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return look;
  struct stat status {};
  look.identity.resize(4096);
  look.there = ::fstat(descriptor, &status) == 0;
  const ssize_t got = ::read(descriptor, look.identity.data(), look.identity.size());
  ::close(descriptor);
  look.identity.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  look.time = fmt::format("{}.{} {}", status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ino);
  return look;
}

/// The generations of a claim that are there: KEY.1, KEY.2, ...
std::set<std::int64_t> generations(const std::string& folder, const std::string& key) {
  std::set<std::int64_t> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::int64_t generation = 0;
    if (!name.starts_with(key + ".")) continue;
    const char* last = name.data() + name.size();
    const auto [stop, problem] = std::from_chars(name.data() + key.size() + 1, last, generation);
    if (problem == std::errc() && stop == last) found.insert(generation);
  }
  return found;
}

}  // namespace

Claim::Claim(Claim&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), path_(std::move(other.path_)) {}

Claim& Claim::operator=(Claim&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(path_, other.path_);
  return *this;
}

Claim::~Claim() {
  if (owner_ != nullptr) owner_->release(path_);
}

bool Claim::lives() const { return ::access(path_.c_str(), F_OK) == 0; }

Claims::Claims(const std::string& folder) : Claims(folder, Timing{}) {}

Claims::Claims(const std::string& folder, Timing timing) : folder_(folder), identity_(own_identity()), timing_(timing) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw UsageError(fmt::format("{}: cannot be created: {}", folder, error.message()));
  // Signals are for the thread that runs the sweep.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  heart_ = std::thread([this] { beat(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Claims::~Claims() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  heart_.join();
}

std::optional<Claim> Claims::take(const std::string& key) {
  const std::string name = sha256_of(key).substr(0, 32);  // any text, as a file name
  const std::set<std::int64_t> there = generations(folder_, name);
  const std::int64_t latest = there.empty() ? 0 : *there.rbegin();
  const auto path_of = [&](std::int64_t generation) { return fmt::format("{}/{}.{}", folder_, name, generation); };
  if (latest > 0 && !is_dead(path_of(latest))) return std::nullopt;

  const std::string path = path_of(latest + 1);
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0 && errno == EEXIST) return std::nullopt;  // another observer was faster
  if (descriptor < 0)
    throw UsageError(fmt::format("{}: cannot be written: {}. Free some space or name another directory.", path,
                                 std::strerror(errno)));
  // A claim without its text still lives by its time.
  if (::write(descriptor, identity_.data(), identity_.size()) < 0) errno = 0;
  ::close(descriptor);
  for (const std::int64_t dead : there) ::unlink(path_of(dead).c_str());
  const std::lock_guard lock(mutex_);
  held_.insert(path);
  return Claim(this, path);
}

bool Claims::is_dead(const std::string& path) {
  const Look look = look_at(path);
  if (!look.there) return false;  // just released: ask again
  if (holder_is_gone(look.identity)) return true;
  const std::lock_guard lock(mutex_);
  return unchanged_for(path, look.time) >= timing_.patience;
}

Claims::Clock::duration Claims::unchanged_for(const std::string& path, const std::string& time) {
  const auto now = Clock::now();
  const auto [seen, first] = seen_.try_emplace(path, Seen{time, now});
  if (!first && seen->second.time != time) seen->second = {time, now};
  return now - seen->second.since;
}

void Claims::release(const std::string& path) {
  {
    const std::lock_guard lock(mutex_);
    held_.erase(path);
  }
  ::unlink(path.c_str());
}

void Claims::beat() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, timing_.heartbeat, [this] { return stop_; })) {
    for (const std::string& path : held_) ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // the server's own time
    // The claims of others grow old together, not one after another as they are asked for.
    std::error_code error;
    for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
      const std::string path = fmt::format("{}/{}", folder_, entry->path().filename().string());
      if (held_.contains(path)) continue;
      if (const Look look = look_at(path); look.there) unchanged_for(path, look.time);
    }
  }
}

}  // namespace sinkscope
