#include <limits>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

Input streams(std::vector<Matrix> states) {
  Input input{.ids = {}};
  input.streams = std::move(states);
  return input;
}

}  // namespace

TEST_CASE("hidden_norm compares the norm at position 0 with the mean norm of the others", "[hidden_norm]") {
  const Measurement m = measure("hidden_norm", {streams({{{18, 24}, {0, 2}, {4, 0}}})});
  CHECK(element(m, "first") == near(30, 1e-12));
  CHECK(element(m, "others") == near(3, 1e-12));
  CHECK(element(m, "ratio") == near(10, 1e-12));
  CHECK(m.value.value() == near(10, 1e-12));
}

TEST_CASE("the ratio is that of the means over sequences, not the mean of the ratios", "[hidden_norm]") {
  const Measurement m = measure("hidden_norm", {streams({{{10}, {1}}}), streams({{{2}, {3}}})});
  CHECK(element(m, "ratio") == near(3, 1e-12));  // 6 / 2; the mean of 10 and 2/3 would be 5.33
}

TEST_CASE("the value is the largest ratio over streams", "[hidden_norm]") {
  const Measurement m = measure("hidden_norm", {streams({{{1}, {1}}, {{8}, {2}}, {{3}, {2}}})});
  CHECK(m.value.value() == near(4, 1e-12));
  CHECK(series(m, "ratio").shape == std::vector<std::size_t>{3});
}

TEST_CASE("with one token there are no others, so the ratio is undefined and the first norm is not", "[hidden_norm]") {
  const Measurement m = measure("hidden_norm", {streams({{{3, 4}}})});
  CHECK_FALSE(m.value.has_value());
  CHECK(element(m, "first") == near(5, 1e-12));
  CHECK_FALSE(series(m, "others").data.at(0).has_value());
  CHECK(m.rejected == 0);
}

TEST_CASE("a ratio to a norm of 0 is undefined", "[hidden_norm]") {
  CHECK_FALSE(measure("hidden_norm", {streams({{{3}, {0}}})}).value.has_value());
}

TEST_CASE("a stream with an infinity has no norm and is counted", "[hidden_norm]") {
  const double inf = std::numeric_limits<double>::infinity();
  const Measurement m = measure("hidden_norm", {streams({{{inf}, {1}}, {{8}, {2}}})});
  CHECK(m.value.value() == near(4, 1e-12));
  CHECK(m.rejected == 1);
  CHECK(m.count == 1);
}
