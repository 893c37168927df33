#include "accumulate/mean.h"

#include "catch.h"

using namespace sinkscope;

TEST_CASE("a mean of nothing is empty, and merging halves gives the whole", "[mean]") {
  Mean left, right;
  CHECK_FALSE(left.value().has_value());
  left.add(1);
  left.add(0);
  right.add(5);
  left.merge(right);
  CHECK(left.value().value() == 2);
  left.merge(Mean{});
  CHECK(left.value().value() == 2);
  CHECK_FALSE(quotient(0, 0).has_value());
}

TEST_CASE("the share of an indicator is exact", "[mean]") {
  Mean share;
  for (int i = 0; i < 6400; ++i) share.add(i % 10 < 7 ? 1 : 0);
  CHECK(share.value().value() == 0.7);
}
