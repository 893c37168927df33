#include "accumulate/bootstrap.h"

#include <cmath>
#include <numeric>

#include "base/random.h"
#include "catch.h"

using namespace sinkscope;

TEST_CASE("fewer than two sequences have no interval", "[bootstrap]") {
  CHECK_FALSE(bootstrap_mean({}).has_value());
  CHECK_FALSE(bootstrap_mean({Mean{3, 2}}).has_value());
  CHECK_FALSE(bootstrap_mean({Mean{3, 2}, Mean{}}).has_value());  // the second has no sample
  CHECK(bootstrap_mean({Mean{3, 2}, Mean{1, 1}}).has_value());
}

TEST_CASE("sequences that agree have an interval of width 0", "[bootstrap]") {
  const Interval interval = bootstrap_mean({Mean{1, 2}, Mean{2, 4}, Mean{0.5, 1}});
  CHECK((*interval)[0] == near(0.5, 1e-15));
  CHECK((*interval)[1] == near(0.5, 1e-15));
}

TEST_CASE("the interval of two sequences reaches from one to the other", "[bootstrap]") {
  // A quarter of the resamples draws the first twice, a quarter the second: far more than 2.5 %.
  const Interval interval = bootstrap_mean({Mean{0, 1}, Mean{1, 1}});
  CHECK(*interval == std::array<double, 2>{0, 1});
}

TEST_CASE("each resample draws as many sequences as there are, from all of them, and always the same ones",
          "[bootstrap]") {
  std::vector<std::int64_t> drawn(7), again(7);
  std::int64_t resamples = 0;
  const auto count_into = [&](std::vector<std::int64_t>& total) {
    resamples = 0;
    bootstrap(7, [&](const Draws& draws) {
      CHECK(std::accumulate(draws.begin(), draws.end(), std::int64_t{0}) == 7);
      for (std::size_t i = 0; i < 7; ++i) total[i] += draws[i];
      ++resamples;
      return std::optional<double>(0);
    });
  };
  count_into(drawn);
  count_into(again);
  CHECK(resamples == kBootstrapResamples);
  CHECK(drawn == again);
  for (const std::int64_t n : drawn) CHECK(std::abs(n - kBootstrapResamples) < 250);  // each 2000 +- 41
}

TEST_CASE("the interval of many sequences is about 1.96 standard errors to either side", "[bootstrap]") {
  SplitMix64 random(5);
  std::vector<Mean> sequences(400);
  for (Mean& mean : sequences) mean = {random.unit(), 1};
  const Interval interval = bootstrap_mean(sequences);
  const double width = 2 * 1.96 * std::sqrt(1.0 / 12) / 20;  // uniform on [0, 1): variance 1/12
  CHECK((*interval)[1] - (*interval)[0] == near(width, 0.15 * width));
}

TEST_CASE("sequences with more samples weigh more in the mean of samples", "[bootstrap]") {
  const Interval interval = bootstrap_mean({Mean{0, 1}, Mean{99, 99}});
  CHECK((*interval)[0] == 0);
  CHECK((*interval)[1] == 1);
  const Interval three = bootstrap_mean({Mean{0, 1}, Mean{99, 99}, Mean{99, 99}});
  CHECK((*three)[0] == 0);  // 1 of 27 draws the first three times: 3.7 % > 2.5 %
}

TEST_CASE("resamples in which a statistic is undefined are left out", "[bootstrap]") {
  const Interval some =
      bootstrap(2, [](const Draws& draws) { return draws[0] > 0 ? std::optional<double>(4) : std::nullopt; });
  CHECK(*some == std::array<double, 2>{4, 4});
  CHECK_FALSE(bootstrap(2, [](const Draws&) { return std::optional<double>(); }).has_value());
}
