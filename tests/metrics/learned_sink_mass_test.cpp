#include <vector>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

/// Rows whose rest goes to the sink.
Site sink_site(std::vector<Matrix> heads) {
  Site site = causal_site(std::move(heads));
  site.row_sum = "with_sink";
  return site;
}

}  // namespace

TEST_CASE("learned_sink_mass is what the rows lack to one, the mean over all queries", "[metric]") {
  const Measurement m =
      measure("learned_sink_mass", {one_site(sink_site({{{0.5, 0}, {0.1, 0.2}}, {{1, 0}, {0, 0.2}}}))});
  CHECK(m.value.value() == near((0.5 + 0.7 + 0 + 0.8) / 4, 1e-12));
  CHECK(m.count == 2);
  CHECK(m.per_head.at(0).at(0).value() == near(0.6, 1e-12));
  CHECK(m.per_head.at(0).at(1).value() == near(0.4, 1e-12));
  CHECK_FALSE(m.uniform.has_value());
}

TEST_CASE("learned_sink_mass is not applicable, and not 0, without a learned sink", "[metric]") {
  const Measurement none = measure("learned_sink_mass", one_head(kThree));
  CHECK_FALSE(none.value.has_value());
  CHECK(none.count == 0);
  CHECK(none.rejected == 0);
  Input mixed = one_site(sink_site({{{0.5, 0}, {0.1, 0.2}}}));
  mixed.sites.push_back(causal_site({kTwo}));
  const Measurement m = measure("learned_sink_mass", {mixed});
  CHECK(m.value.value() == near(0.6, 1e-12));
  CHECK_FALSE(m.per_site.at(1).has_value());
  CHECK_FALSE(m.per_head.at(1).at(0).has_value());
}

TEST_CASE("a broken head without a learned sink is no rejected sample of learned_sink_mass", "[metric]") {
  Input input = one_site(sink_site({{{0.5, 0}, {0.1, 0.2}}}));
  input.sites.push_back(causal_site({{{1, 0}, {5, 0}}}));
  CHECK(measure("learned_sink_mass", {input}).rejected == 0);
  input.sites[0].heads[0][1][0] = 5;  // more than a whole row
  CHECK(measure("learned_sink_mass", {input}).rejected == 1);
}
