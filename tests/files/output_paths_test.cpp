#include "files/output_paths.h"

#include <filesystem>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

namespace fs = std::filesystem;
using namespace sinkscope;

TEST_CASE("a result that would replace what is read is refused, however it is spelled", "[files]") {
  const TemporaryFolder folder;
  const std::string old = folder.file("old.json", "{}"), other = folder.file("other.json", "{}");
  CHECK_THROWS_AS(check_output_paths({{"--junit", old}}, {other, old}), UsageError);
  fs::create_symlink(old, fs::path(old).parent_path() / "link");
  CHECK_THROWS_AS(check_output_paths({{"--junit", (fs::path(old).parent_path() / "link").string()}}, {old}),
                  UsageError);
  CHECK_THROWS_AS(check_output_paths({{"--csv", fs::path(old).parent_path().string() + "/./old.json"}}, {old}),
                  UsageError);
  CHECK_NOTHROW(check_output_paths({{"--junit", other}}, {old}));
  CHECK_NOTHROW(check_output_paths({{"--junit", "-"}}, {"-"}));
}

TEST_CASE("of a folder that is read its reports, weights and models are kept, and new files are allowed", "[files]") {
  const TemporaryFolder folder;
  const std::string report = folder.file("step0.json", "{}"), table = folder.file("all.csv", "");
  const std::string root = fs::path(report).parent_path().string();
  CHECK_THROWS_AS(check_output_paths({{"--csv", report}}, {root}), UsageError);
  CHECK_NOTHROW(check_output_paths({{"--csv", table}}, {root}));
  CHECK_NOTHROW(check_output_paths({{"--csv", root + "/new.json"}}, {root}));
  CHECK_NOTHROW(check_output_paths({{"--csv", report}}, {root + "/absent"}));
}

TEST_CASE("two results on one file, or two on stdout, are refused", "[files]") {
  CHECK_THROWS_AS(check_output_paths({{"--junit", "x.out"}, {"--benchmark-json", "./x.out"}}, {}), UsageError);
  CHECK_THROWS_AS(check_output_paths({{"--json", "-"}, {"--csv", "-"}}, {}), UsageError);
  CHECK_NOTHROW(check_output_paths({{"--junit", "/dev/null"}, {"--csv", "/dev/null"}}, {}));
  CHECK_NOTHROW(check_output_paths({{"--json", "-"}, {"--csv", "x.csv"}}, {}));
}
