#include "base/random.h"

#include "catch.h"

using sinkscope::SplitMix64;

TEST_CASE("SplitMix64 gives the published numbers on every machine", "[random]") {
  SplitMix64 random(1234567);
  CHECK(random.next() == 6457827717110365317ULL);
  CHECK(random.next() == 3203168211198807973ULL);
  CHECK(random.next() == 9817491932198370423ULL);
}

TEST_CASE("numbers below a bound stay below it and reach all values", "[random]") {
  SplitMix64 random(1);
  int seen[3] = {};
  for (int i = 0; i < 300; ++i) ++seen[random.below(3)];
  for (const int n : seen) CHECK(n > 60);
  CHECK(random.below(1) == 0);
  for (int i = 0; i < 100; ++i) {
    const double x = random.unit();
    CHECK((x >= 0 && x < 1));
  }
}
