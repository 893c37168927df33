#include <cmath>
#include <limits>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

Input text(std::int64_t length, double nll_sum) {
  Input input{.ids = {}};
  input.length = length;
  input.nll_sum = nll_sum;
  return input;
}

}  // namespace

TEST_CASE("loss is the mean negative log-likelihood of the predicted tokens", "[loss]") {
  const Measurement m = measure("loss", {text(4, 3 * std::log(2.0))});
  CHECK(m.value.value() == near(0.6931471806, 1e-10));
  CHECK(m.count == 1);
  CHECK_FALSE(m.ci95.has_value());
  CHECK_FALSE(m.uniform.has_value());
}

TEST_CASE("sequences count equally in loss whatever their length, unless tokens are asked for", "[loss]") {
  const std::vector<Input> inputs = {text(2, 1.0), text(4, 9.0)};  // means 1 and 3 over 1 and 3 tokens
  const Measurement by_sequence = measure("loss", inputs);
  CHECK(by_sequence.value.value() == near(2.0, 1e-12));
  CHECK(by_sequence.per_sequence.at(0).value() == near(1.0, 1e-12));
  CHECK(by_sequence.per_sequence.at(1).value() == near(3.0, 1e-12));
  CHECK(by_sequence.ci95.has_value());
  const Measurement by_token = measure("loss", inputs, with("loss", {{"average", "tokens"}}));
  CHECK(by_token.value.value() == near(2.5, 1e-12));
  CHECK(by_token.count == 4);
  CHECK(by_token.count_of == "predicted token");
}

TEST_CASE("a sequence of one token predicts nothing, so its loss is undefined and not 0", "[loss]") {
  const Measurement m = measure("loss", {text(1, 0.0), text(3, 4.0)});
  CHECK_FALSE(m.per_sequence.at(0).has_value());
  CHECK(m.value.value() == near(2.0, 1e-12));
  CHECK(m.count == 1);
  CHECK(m.rejected == 0);
}

TEST_CASE("a loss of NaN is rejected and counted", "[loss]") {
  const Measurement m = measure("loss", {text(3, std::numeric_limits<double>::quiet_NaN()), text(3, 4.0)});
  CHECK(m.value.value() == near(2.0, 1e-12));
  CHECK(m.rejected == 1);
  CHECK_FALSE(m.per_sequence.at(0).has_value());
}
