#include "sweep/claim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;
using namespace std::chrono_literals;

namespace {

std::string only_file(const TemporaryFolder& folder) {
  REQUIRE(folder.files() == 1);
  return std::filesystem::directory_iterator(folder.path())->path().string();
}

/// A claim as another machine would have left it: nothing on this machine says whether its holder lives.
void make_foreign(const std::string& claim) {
  std::filesystem::remove(claim);
  std::ofstream(claim) << R"({"machine": "another", "host": "node7", "process": 1, "started": "1"})";
}

std::int64_t modified(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

TEST_CASE("a claim keeps everybody else off until it is released", "[sweep]") {
  const TemporaryFolder folder;
  Claims mine(folder.path()), others(folder.path());
  {
    const auto claim = mine.take("step1");
    REQUIRE(claim);
    CHECK_FALSE(others.take("step1"));
    CHECK_FALSE(mine.take("step1"));
    CHECK(others.take("step2"));
  }
  CHECK(others.take("step1"));
  CHECK(folder.files() == 0);
}

TEST_CASE("the claim of a process that was killed on this machine is taken over at once", "[sweep]") {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    Claims theirs(folder.path());
    const auto claim = theirs.take("step1");
    _exit(claim ? 0 : 1);  // without destructors, as after kill -9
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  REQUIRE(folder.files() == 1);
  Claims mine(folder.path());
  CHECK(mine.take("step1"));
  CHECK(folder.files() == 0);
}

TEST_CASE("the claim of another machine dies when its time stands still", "[sweep]") {
  const TemporaryFolder folder;
  {
    Claims theirs(folder.path());
    const auto claim = theirs.take("step1");
    make_foreign(only_file(folder));
    Claims observer(folder.path(), {.heartbeat = 1s, .patience = 50ms});
    CHECK_FALSE(observer.take("step1"));  // seen for the first time
    std::this_thread::sleep_for(60ms);
    CHECK(observer.take("step1"));
  }
}

TEST_CASE("the claims of another machine grow old together, and their holder can see that it lost them", "[sweep]") {
  const TemporaryFolder folder;
  Claims theirs(folder.path(), {.heartbeat = 1h, .patience = 1h});
  auto first = theirs.take("step1");
  make_foreign(only_file(folder));
  const std::string known = only_file(folder);
  auto second = theirs.take("step2");
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    if (entry.path().string() != known) make_foreign(entry.path().string());
  Claims observer(folder.path(), {.heartbeat = 5ms, .patience = 50ms});
  std::this_thread::sleep_for(200ms);
  CHECK(first->lives());
  const auto one = observer.take("step1"), two = observer.take("step2");  // neither was asked for before
  CHECK(one);
  CHECK(two);
  CHECK_FALSE(first->lives());
  CHECK(one->lives());
}

TEST_CASE("the claim of another machine lives as long as its time moves", "[sweep]") {
  const TemporaryFolder folder;
  Claims theirs(folder.path());
  const auto claim = theirs.take("step1");
  const std::string file = only_file(folder);
  make_foreign(file);
  Claims observer(folder.path(), {.heartbeat = 1s, .patience = 0ms});
  for (int i = 1; i < 5; ++i) {
    const timespec time{1'000'000 + i, 0};
    const timespec times[2] = {time, time};
    REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
    if (i > 1) CHECK_FALSE(Claims(folder.path(), {.heartbeat = 1s, .patience = 1h}).take("step1"));
  }
  CHECK(observer.take("step1"));  // no patience at all
}

TEST_CASE("the holder of a claim renews its time", "[sweep]") {
  const TemporaryFolder folder;
  Claims mine(folder.path(), {.heartbeat = 5ms, .patience = 1h});
  const auto claim = mine.take("step1");
  const std::string file = only_file(folder);
  const std::int64_t before = modified(file);
  for (int i = 0; i < 400 && modified(file) == before; ++i) std::this_thread::sleep_for(5ms);
  CHECK(modified(file) > before);
}

TEST_CASE("of many observers of a dead claim one takes it over", "[sweep]") {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    Claims theirs(folder.path());
    const auto claim = theirs.take("step1");
    _exit(0);
  }
  REQUIRE(waitpid(child, nullptr, 0) == child);
  std::atomic<int> taken = 0, begun = 0;
  std::vector<std::thread> observers;
  for (int i = 0; i < 8; ++i)
    observers.emplace_back([&] {
      Claims claims(folder.path());
      ++begun;
      while (begun < 8) std::this_thread::yield();
      const auto claim = claims.take("step1");
      taken += claim.has_value();
      ++begun;
      while (begun < 16) std::this_thread::yield();  // nobody releases before everybody has asked
    });
  for (std::thread& observer : observers) observer.join();
  CHECK(taken == 1);
}

TEST_CASE("a key may be any text", "[sweep]") {
  const TemporaryFolder folder;
  Claims claims(folder.path());
  CHECK(claims.take("../../a/b\n" + std::string(1000, 'x')));
}

TEST_CASE("a folder that cannot be written is a usage error", "[sweep]") {
  const TemporaryFolder folder;
  const std::string file = folder.file("file", "");
  CHECK_THROWS_AS(Claims(file + "/claims"), UsageError);
}
