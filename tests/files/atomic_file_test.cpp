#include "files/atomic_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

TEST_CASE("a committed file has the bytes and nothing else stays in the folder", "[files]") {
  const TemporaryFolder folder;
  AtomicFile file = AtomicFile::open(folder / "report.json");
  file.write("first ");
  file.commit("second");
  CHECK(content_of(folder / "report.json") == "first second");
  CHECK(folder.files() == 1);
}

TEST_CASE("until commit the target keeps its former content", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("report.json", "old");
  {
    AtomicFile file = AtomicFile::open(path);
    file.write("new");
    CHECK(content_of(path) == "old");
  }
  CHECK(content_of(path) == "old");
  CHECK(folder.files() == 1);
}

TEST_CASE("a file that was opened and not committed does not come into being", "[files]") {
  const TemporaryFolder folder;
  { AtomicFile file = AtomicFile::open(folder / "report.json"); }
  CHECK(folder.files() == 0);
}

TEST_CASE("moving an open file neither commits nor loses it", "[files]") {
  const TemporaryFolder folder;
  AtomicFile first = AtomicFile::open(folder / "a");
  AtomicFile second = std::move(first);
  second.commit("x");
  CHECK(content_of(folder / "a") == "x");
}

TEST_CASE("two runs may write the same file; the last commit wins whole", "[files]") {
  const TemporaryFolder folder;
  AtomicFile one = AtomicFile::open(folder / "a"), two = AtomicFile::open(folder / "a");
  two.commit("two");
  one.commit("one");
  CHECK(content_of(folder / "a") == "one");
  CHECK(folder.files() == 1);
}

TEST_CASE("a directory as output is refused before anything is written", "[files]") {
  const TemporaryFolder folder;
  CHECK(contains(message_of<UsageError>([&] { AtomicFile::open(folder.path()); }), "is a directory"));
  CHECK(contains(message_of<UsageError>([&] { AtomicFile::open(folder / "new/"); }), "is a directory"));
}

TEST_CASE("an output in a folder that does not exist names the folder", "[files]") {
  const TemporaryFolder folder;
  const std::string message = message_of<UsageError>([&] { AtomicFile::open(folder / "none/report.json"); });
  CHECK(contains(message, "none/report.json"));
  CHECK(contains(message, "does not exist"));
}

TEST_CASE("a full disk is one clear error", "[files]") {
  AtomicFile file = AtomicFile::open("/dev/full");
  CHECK(contains(message_of<UsageError>([&] { file.commit("x"); }), "the disk is full"));
}

TEST_CASE("a device is written to and stays a device", "[files]") {
  AtomicFile::open("/dev/null").commit("x");
  struct stat status {};
  REQUIRE(::stat("/dev/null", &status) == 0);
  CHECK(S_ISCHR(status.st_mode));
}

TEST_CASE("a symbolic link keeps pointing, and its target gets the bytes", "[files]") {
  const TemporaryFolder folder;
  folder.file("target", "old");
  std::filesystem::create_symlink("target", folder / "link");
  AtomicFile::open(folder / "link").commit("new");
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(content_of(folder / "target") == "new");
}

TEST_CASE("replacing a file keeps its permissions", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a", "old");
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  AtomicFile::open(path).commit("new");
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("a file name without a folder is written in the working directory", "[files]") {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  AtomicFile::open("plain.json").commit("x");
  std::filesystem::current_path(before);
  CHECK(content_of(folder / "plain.json") == "x");
}
