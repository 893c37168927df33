// Identities of docs/metrics.md section 3 at the level of statistics, which is also where traps 4 and 10 live.

#include "metric/synthetic.h"

#include <limits>

#include "catch.h"
#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

Sequence sequence_of(std::int64_t length) { return {.id = SequenceId{0}, .ids = {}, .length = length}; }

}  // namespace

TEST_CASE("sum over k of (T - k) alpha_k is T for rows that sum to one, and alpha_0 is at least 1 / T", "[synthetic]") {
  SplitMix64 random(1);
  for (const Visibility& mask : {Visibility::causal(19, 19), Visibility::window(19, 4), Visibility::chunk(19, 4)}) {
    CAPTURE(name_of(mask.kind()));
    Site site{.heads = {random_attention(mask, random)}, .mask = mask};
    const Sequence sequence = sequence_of(19);
    const SiteObservation o = observe(site, sequence, SiteId{0}, {.first_keys = 19, .column_sums = true});
    double total = 0, columns = 0;
    for (std::int64_t k = 0; k < 19; ++k) {
      const auto rows = static_cast<double>(mask.alpha_rows(k));
      const double alpha = o.first_key_sum[static_cast<std::size_t>(k)] / rows;
      total += rows * alpha;
      columns += static_cast<double>(o.column_sum[static_cast<std::size_t>(k)]);
      if (k == 0) CHECK(alpha >= 1.0 / 19);
    }
    CHECK(total == near(19, 1e-12));
    CHECK(columns == near(19, 1e-5));
  }
}

TEST_CASE("the fixture's statistics are those written by hand", "[synthetic]") {
  const Sequence sequence{.id = SequenceId{0}, .ids = {9, 5, 9}, .length = 3};
  const SiteObservation o = observe(causal_site({kThree}), sequence, SiteId{0},
                                    {.first_keys = 4, .after_first_k = 2, .tail_window = 2, .triggers = {5}});
  CHECK(o.first_key_sum[0] == near(2.1, 1e-12));
  CHECK(o.first_key_sum[1] == near(0.7, 1e-12));
  CHECK(o.first_key_sum[3] == 0);  // key 3 >= K
  CHECK(o.after_first_k_sum[0] == near(0.8, 1e-12));
  CHECK(o.tail_sum[0] == near(1.1, 1e-12));
  CHECK(o.non_trigger_sum[0] == near(1.5, 1e-12));
  CHECK(o.first_query[0] == 1);
  CHECK(o.last_query[0] == 0.5);
  CHECK(o.renormalised_sum.empty());
}

TEST_CASE("a NaN or a row sum off by more than 1e-3 makes a head invalid, a fully masked row does not", "[synthetic]") {
  Matrix off = kThree, nan = kThree, near_one = kThree;
  off[2][0] += 2e-3;
  near_one[2][0] += 5e-4;
  nan[0][0] = std::numeric_limits<double>::quiet_NaN();
  const Sequence sequence = sequence_of(3);
  CHECK(observe(causal_site({kThree, off, nan, near_one}), sequence, SiteId{0}, {}).valid ==
        std::vector<std::uint8_t>{1, 0, 0, 1});
  const Visibility padded = Visibility::other(MaskKind::padding, 2, true, {0, 1}, 1, {0, 0});
  Site site{.heads = {{{0, 0}, {0, 1}}}, .mask = padded};
  CHECK(observe(site, sequence, SiteId{0}, {}).valid.at(0) == 1);
}

TEST_CASE("the median of a stream is the lower one", "[synthetic]") {
  const Sequence sequence = sequence_of(1);
  CHECK(observe(Matrix{{4, -1, 3, 2}}, sequence, StreamId{0}, {}).median == 2);
  CHECK(observe(Matrix{{4, -1, 3}}, sequence, StreamId{0}, {}).median == 3);
}

TEST_CASE("the common length is the most frequent one, of equally frequent ones the longest", "[synthetic]") {
  const auto of_length = [](std::int64_t length) { return one_head(planted_sink(length, 0.5))[0]; };
  CHECK(shape_of({of_length(3), of_length(5), of_length(3)}).common_length == 3);
  CHECK(shape_of({of_length(5), of_length(3)}).common_length == 5);
}
