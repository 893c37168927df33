#include <limits>

#include "base/error.h"
#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

Input streams(std::vector<Matrix> states, std::vector<std::int64_t> ids = {}) {
  Input input{.ids = std::move(ids)};
  input.streams = std::move(states);
  return input;
}

}  // namespace

TEST_CASE("top values are magnitudes over all elements and the median of an even number is the lower one",
          "[massive_activation]") {
  const Measurement m = measure("massive_activation", {streams({{{1, -2}, {3, -500}}})});
  CHECK(m.value.value() == 500);
  CHECK(element(m, "top1") == 500);
  CHECK(element(m, "top2") == 3);
  CHECK(element(m, "top3") == 2);
  CHECK(element(m, "median") == 2);  // between 2 and 3
  CHECK(element(m, "ratio") == 250);
  CHECK(element(m, "is_massive") == 0);
  CHECK(m.records.at(0).rows.empty());
  CHECK_FALSE(m.uniform.has_value());
}

TEST_CASE("the value is the largest top1 over the streams", "[massive_activation]") {
  const Measurement m = measure("massive_activation", {streams({{{1, 2}}, {{9, 1}}, {{3, 3}}})});
  CHECK(m.value.value() == 9);
  CHECK(m.count == 3);
  CHECK(m.count_of == "sequence x stream");
}

TEST_CASE("a massive activation passes both thresholds: above magnitude and at least ratio times the median",
          "[massive_activation]") {
  const auto flag = [](double spike, double rest) {
    return element(measure("massive_activation", {streams({{{spike, rest, rest}}})}), "is_massive");
  };
  CHECK(flag(2000, 1) == 1);
  CHECK(flag(1000, 1) == 1);  // the ratio itself suffices
  CHECK(flag(999, 1) == 0);
  CHECK(flag(100, 0.01) == 0);  // the magnitude itself does not
  CHECK(flag(101, 0.01) == 1);
}

TEST_CASE("a median of 0 leaves the ratio undefined, yet the spike is massive", "[massive_activation]") {
  const Measurement m = measure("massive_activation", {streams({{{0, 0, 500}}})});
  CHECK_FALSE(series(m, "ratio").data.at(0).has_value());
  CHECK(element(m, "is_massive") == 1);
}

TEST_CASE("means over sequences come before the threshold", "[massive_activation]") {
  // top1 150 and 30, median .1 and .01: each tensor alone passes the ratio, one alone the magnitude; the means are 90
  // and .055.
  const Measurement m = measure("massive_activation", {streams({{{150, 0.1, 0.1}}}), streams({{{30, 0.01, 0.01}}})});
  CHECK(element(m, "top1") == near(90, 1e-12));
  CHECK(element(m, "median") == near(0.055, 1e-12));
  CHECK(element(m, "is_massive") == 0);
  CHECK(m.records.at(0).rows.size() == 1);  // the locations are those of single tensors
}

TEST_CASE("locations name stream, position, token, dimension, sequences and the mean signed value",
          "[massive_activation]") {
  const Matrix quiet = {{0.1, 0.1}, {0.1, 0.1}};
  const Matrix loud_a = {{0.1, -400}, {0.1, 0.1}}, loud_b = {{0.1, -600}, {0.1, 300}};
  const Measurement m =
      measure("massive_activation", {streams({quiet, loud_a}, {5, 6}), streams({quiet, loud_b}, {5, 7})});
  const Records& locations = m.records.at(0);
  CHECK(locations.name == "locations");
  REQUIRE(locations.rows.size() == 2);
  const Record first = {{"stream", std::int64_t{1}},    {"position", std::int64_t{0}},  {"token_id", std::int64_t{5}},
                        {"dimension", std::int64_t{1}}, {"sequences", std::int64_t{2}}, {"value", -500.0}};
  CHECK(locations.rows[0] == first);
  CHECK(locations.rows[1].at(1).second == Cell(std::int64_t{1}));
  CHECK(locations.rows[1].at(5).second == Cell(300.0));
}

TEST_CASE("the token of a location is null where sequences disagree", "[massive_activation]") {
  const Measurement m = measure("massive_activation", {streams({{{0.1, 400}}}, {5}), streams({{{0.1, 400}}}, {6})});
  REQUIRE(m.records.at(0).rows.size() == 1);
  CHECK(m.records[0].rows[0].at(2).second == Cell());
}

TEST_CASE("at most 100 locations a stream are listed, the largest first", "[massive_activation]") {
  std::vector<Input> inputs;
  for (int s = 0; s < 3; ++s) {
    Matrix state(1, std::vector<double>(300, 0.01));
    for (int i = 0; i < 50; ++i) state[0][static_cast<std::size_t>(s * 50 + i)] = 200 + s * 50 + i;
    inputs.push_back(streams({state}));
  }
  const Measurement m = measure("massive_activation", inputs);
  REQUIRE(m.records.at(0).rows.size() == 100);
  CHECK(m.records[0].rows.front().at(5).second == Cell(349.0));
  CHECK(m.records[0].rows.back().at(5).second == Cell(250.0));
}

TEST_CASE("a stream with a NaN has no value and is counted", "[massive_activation]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Measurement m = measure("massive_activation", {streams({{{1, nan}}, {{4, 2}}})});
  CHECK_FALSE(series(m, "top1").data.at(0).has_value());
  CHECK_FALSE(series(m, "is_massive").data.at(0).has_value());
  CHECK(m.value.value() == 4);
  CHECK(m.rejected == 1);
  CHECK_FALSE(series(m, "top3").data.at(1).has_value());  // only two elements
}

TEST_CASE("the interval of a maximum over streams is bootstrapped over sequences", "[massive_activation]") {
  const Measurement m = measure("massive_activation", {streams({{{10, 1}}, {{1, 1}}}), streams({{{2, 1}}, {{8, 1}}})});
  CHECK(m.value.value() == 6);  // means 6 and 4.5
  REQUIRE(m.ci95.has_value());
  CHECK((*m.ci95)[0] == near(6, 1e-12));  // both drawn once: 6; the second twice: max(2, 8) = 8; the first twice: 10
  CHECK((*m.ci95)[1] == near(10, 1e-12));
}

TEST_CASE("negative thresholds of massive_activation are refused", "[massive_activation]") {
  CHECK_THROWS_AS(find_metric("massive_activation").needs(with("massive_activation", {{"ratio", -1.0}})), UsageError);
}
