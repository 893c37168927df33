#include <cmath>
#include <limits>

#include "base/error.h"
#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

Input jacobian(std::vector<std::int64_t> targets, Matrix norms, bool causal = true) {
  Input input{.ids = {}};
  input.targets = std::move(targets);
  input.jacobian = std::move(norms);
  input.causal = causal;
  return input;
}

}  // namespace

TEST_CASE("one fixed-attention block with d = 4 has norms (1, 0.6, 2.4) at target 2 and shares (.25, .15, .6)",
          "[mixing_jacobian]") {
  // J[2, i] = (delta + A[2, i]) I with A[2] = (.5, .3, .2); the Frobenius norm of c I_4 is 2 c.
  const Measurement m = measure("mixing_jacobian", {jacobian({2}, {{1.0, 0.6, 2.4}})});
  CHECK(m.value.value() == near(0.8, 1e-12));  // sources before the target only
  CHECK(m.count == 2);
  CHECK(element(m, "norm", 2) == near(2.4, 1e-12));
  CHECK(element(m, "share", 0) == near(0.25, 1e-12));
  CHECK(element(m, "share", 1) == near(0.15, 1e-12));
  CHECK(element(m, "share", 2) == near(0.6, 1e-12));
  CHECK(series(m, "norm").dims == std::vector<std::string>{"target", "source"});
  CHECK(series(m, "norm").coords.at(0).values == std::vector<double>{2});
}

TEST_CASE("two such blocks give (3.56, 1.56, 2.88), by distance from the target back", "[mixing_jacobian]") {
  const Measurement m = measure("mixing_jacobian", {jacobian({2}, {{3.56, 1.56, 2.88}})});
  CHECK(m.value.value() == near(2.56, 1e-12));
  CHECK(series(m, "by_distance").coords.at(0).values == std::vector<double>{0, 1, 2});
  CHECK(element(m, "by_distance", 0) == near(2.88, 1e-12));
  CHECK(element(m, "by_distance", 2) == near(3.56, 1e-12));
}

TEST_CASE("a causal target has no source after it, a bidirectional one has", "[mixing_jacobian]") {
  const Matrix norms = {{3, 9, 5}};
  CHECK(measure("mixing_jacobian", {jacobian({1}, norms)}).value.value() == near(3, 1e-12));
  const Measurement both = measure("mixing_jacobian", {jacobian({1}, norms, false)});
  CHECK(both.value.value() == near(4, 1e-12));
  CHECK(series(both, "by_distance").coords.at(0).values == std::vector<double>{-1, 0, 1});
}

TEST_CASE("the influence of sources after a causal target is 0 in the arrays, and no evidence for the value",
          "[mixing_jacobian]") {
  const Measurement m = measure("mixing_jacobian", {jacobian({1}, {{3, 9, 0}})});
  CHECK(element(m, "norm", 2) == 0);
  CHECK(element(m, "share", 2) == 0);
  CHECK(m.count == 1);
  CHECK(series(m, "by_distance").data.size() == 2);
}

TEST_CASE("target 0 of a causal model has no source before it: the value is undefined", "[mixing_jacobian]") {
  const Measurement m = measure("mixing_jacobian", {jacobian({0}, {{2, 0}})});
  CHECK_FALSE(m.value.has_value());
  CHECK(element(m, "share", 0) == 1);
}

TEST_CASE("norms are roots of the given mean squares, and are averaged over sequences as norms", "[mixing_jacobian]") {
  const Measurement m = measure("mixing_jacobian", {jacobian({1}, {{1, 1}}), jacobian({1}, {{3, 1}})});
  CHECK(element(m, "norm", 0) == near(2, 1e-12));  // the root of the mean square would be 2.236
  CHECK(element(m, "share", 0) == near((0.5 + 0.75) / 2, 1e-12));
  CHECK(m.per_sequence.at(1).value() == near(3, 1e-12));
  CHECK(m.ci95.has_value());
}

TEST_CASE("sequences count equally whatever their length, and arrays over positions are null where lengths differ",
          "[mixing_jacobian]") {
  const Measurement m = measure("mixing_jacobian", {jacobian({1}, {{1, 5}}), jacobian({3}, {{4, 4, 4, 5}})});
  CHECK(m.value.value() == near(2.5, 1e-12));
  CHECK(m.count == 4);
  for (const char* name : {"norm", "share"})
    for (const Number& value : series(m, name).data) CHECK_FALSE(value.has_value());
  CHECK(element(m, "by_distance", 1) == near(2.5, 1e-12));
}

TEST_CASE("the share is undefined where every norm is 0, the norm is not", "[mixing_jacobian]") {
  const Measurement m = measure("mixing_jacobian", {jacobian({1}, {{0, 0}})});
  CHECK(m.value.value() == 0);
  CHECK_FALSE(series(m, "share").data.at(0).has_value());
}

TEST_CASE("a NaN in a Jacobian is counted and leaves the other sources", "[mixing_jacobian]") {
  const Measurement m = measure("mixing_jacobian", {jacobian({2}, {{std::numeric_limits<double>::quiet_NaN(), 2, 1}})});
  CHECK(m.value.value() == near(2, 1e-12));
  CHECK(m.rejected == 1);
  CHECK_FALSE(series(m, "norm").data.at(0).has_value());
  CHECK_FALSE(series(m, "share").data.at(1).has_value());  // its divisor is unknown
}

TEST_CASE("mixing_jacobian runs only when named, asks for the targets, and refuses to have none", "[mixing_jacobian]") {
  const MetricSpec& spec = find_metric("mixing_jacobian");
  CHECK(spec.only_when_named);
  const Needs needs = spec.needs(Parameters(spec.parameters));
  REQUIRE(needs.jacobian.has_value());
  CHECK(*needs.jacobian == JacobianNeeds{.targets = {-1}, .probes = 16, .seed = 0});
  CHECK_THROWS_AS(spec.needs(with("mixing_jacobian", {{"targets", std::vector<std::int64_t>{}}})), UsageError);
  CHECK_THROWS_AS(spec.needs(with("mixing_jacobian", {{"probes", -1}})), UsageError);
}
