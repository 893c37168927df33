#include <cmath>
#include <limits>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

Input outputs(const Matrix& head_output_norms) {
  const auto length = static_cast<std::int64_t>(head_output_norms.at(0).size());
  Site site =
      causal_site(std::vector<Matrix>(head_output_norms.size(), uniform_attention(Visibility::causal(length, length))));
  site.head_output_norms = head_output_norms;
  return one_site(site);
}

}  // namespace

TEST_CASE("head_output_norm is the mean over heads of the mean over tokens, and last_token that of the last",
          "[head_output_norm]") {
  const Measurement m = measure("head_output_norm", {outputs({{5, 1}, {2, 8}})});
  CHECK(m.value.value() == near(4, 1e-12));
  CHECK(m.per_head.at(0).at(0).value() == near(3, 1e-12));
  CHECK(m.per_head.at(0).at(1).value() == near(5, 1e-12));
  CHECK(element(m, "last_token", 0) == 1);
  CHECK(element(m, "last_token", 1) == 8);
  CHECK_FALSE(m.uniform.has_value());
  CHECK(series(m, "last_token").uniform.empty());
}

TEST_CASE("the output of a head is an average of values, so its norm is at most the largest value norm",
          "[head_output_norm]") {
  SplitMix64 random(11);
  const Matrix attention = random_attention(Visibility::causal(12, 12), random);
  Matrix values(12, std::vector<double>(3));
  double largest = 0;
  for (auto& v : values) {
    for (double& x : v) x = 2 * random.unit() - 1;
    largest = std::max(largest, std::hypot(v[0], v[1], v[2]));
  }
  std::vector<double> norms;
  for (const auto& row : attention) {
    double o[3] = {};
    for (std::size_t j = 0; j < 12; ++j)
      for (std::size_t c = 0; c < 3; ++c) o[c] += row[j] * values[j][c];
    norms.push_back(std::hypot(o[0], o[1], o[2]));
  }
  const Measurement m = measure("head_output_norm", {outputs({norms})});
  CHECK(m.value.value() > 0);
  CHECK(m.value.value() <= largest);
}

TEST_CASE("a head whose output is NaN is rejected even where its attention is sound", "[head_output_norm]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Measurement m = measure("head_output_norm", {outputs({{5, nan}, {2, 8}})});
  CHECK(m.value.value() == near(5, 1e-12));
  CHECK(m.rejected == 1);
  CHECK_FALSE(m.per_head.at(0).at(0).has_value());
}
