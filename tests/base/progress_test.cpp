#include "base/progress.h"

#include "catch.h"

using namespace sinkscope;

TEST_CASE("the progress line has the rate and the time left", "[base]") {
  CHECK(progress_line("measuring", 25, 100, "sequences", 1600, "tokens", 30, 120) ==
        "measuring 25/100 sequences, 53 tokens/s, 1:30 left");
  CHECK(progress_line("measuring", 1, 100, "sequences", 64, "tokens", 100, 120) ==
        "measuring 1/100 sequences, 0.6 tokens/s, 2:45:00 left");
}

TEST_CASE("before the first sequence there is no rate and after the last no time left", "[base]") {
  CHECK(progress_line("measuring", 0, 100, "sequences", 0, "tokens", 30, 120) == "measuring 0/100 sequences");
  CHECK(progress_line("measuring", 100, 100, "sequences", 6400, "tokens", 1, 120) ==
        "measuring 100/100 sequences, 6400 tokens/s");
}

TEST_CASE("a line never reaches the last column, where a terminal would wrap it", "[base]") {
  CHECK(progress_line("measuring", 25, 100, "sequences", 1600, "tokens", 30, 20) == "measuring 25/100 se");
}
