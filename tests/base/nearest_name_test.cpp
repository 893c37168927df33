#include "base/nearest_name.h"

#include "catch.h"

using sinkscope::nearest_name;

TEST_CASE("the nearest name has the smallest edit distance, of equal ones the first", "[nearest_name]") {
  const std::vector<std::string> names = {"sink_rate", "key_norm", "value_norm", "loss"};
  CHECK(nearest_name("sink-rate", names) == "sink_rate");
  CHECK(nearest_name("keynorm", names) == "key_norm");
  CHECK(nearest_name("los", names) == "loss");
  CHECK(nearest_name("loss", names) == "loss");
  CHECK(nearest_name("ab", {"aa", "bb"}) == "aa");
  CHECK(nearest_name("", {"long", "x"}) == "x");
  CHECK(nearest_name("x", {}).empty());
}
