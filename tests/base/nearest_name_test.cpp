#include "base/nearest_name.h"

#include "catch.h"

using sinkscope::did_you_mean;
using sinkscope::nearest_name;

TEST_CASE("the nearest name has the smallest edit distance, of equal ones the first", "[nearest_name]") {
  const std::vector<std::string> names = {"sink_rate", "key_norm", "value_norm", "loss"};
  CHECK(nearest_name("sink-rate", names) == "sink_rate");
  CHECK(nearest_name("keynorm", names) == "key_norm");
  CHECK(nearest_name("los", names) == "loss");
  CHECK(nearest_name("loss", names) == "loss");
  CHECK(nearest_name("ab", {"aa", "bb"}) == "aa");
  CHECK(nearest_name("stpes", {"step", "steps"}) == "steps");
  CHECK(nearest_name("tial", {"by_key", "tail"}) == "tail");
  CHECK(nearest_name("x", {}).empty());
}

TEST_CASE("a name that nobody can have meant is not offered", "[nearest_name]") {
  CHECK(nearest_name("force", {"bos", "config"}).empty());
  CHECK(nearest_name("x", {"loss", "k"}).empty());
  CHECK(nearest_name("zzz", {"loss"}).empty());
  CHECK(nearest_name("", {"k", ""}).empty());
  CHECK(nearest_name("k", {"", "ks"}) == "ks");
}

TEST_CASE("the beginning of a name stands for it", "[nearest_name]") {
  CHECK(nearest_name("eps", {"keys", "epsilon"}) == "epsilon");
  CHECK(nearest_name("ep", {"epsilon"}).empty());
}

TEST_CASE("a refusal ends with the near name, or as a plain sentence", "[nearest_name]") {
  CHECK("no 'los'" + did_you_mean("los", {"loss"}) == "no 'los'; did you mean 'loss'?");
  CHECK("no 'zzz'" + did_you_mean("zzz", {"loss"}) == "no 'zzz'.");
  CHECK("no 'loss' here" + did_you_mean("loss", {"loss"}) == "no 'loss' here.");
}
