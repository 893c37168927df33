#include "metric/norm_ratio.h"

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

TEST_CASE("where self and cross attention mix, norm ratios and their interval are over self-attention",
          "[norm_ratio]") {
  const auto input = [](double first) {
    Site self = causal_site({planted_sink(2, 0.5)}), cross = self;
    self.key_norms = {{first, 1}};
    cross.key_norms = {{100 * first, 1}};
    cross.kind = "cross";
    Input result = one_site(self);
    result.sites.push_back(cross);
    return result;
  };
  const Measurement m = measure("key_norm", {input(1), input(3)});
  CHECK(m.value.value() == near(2, 1e-12));
  REQUIRE(m.ci95.has_value());
  CHECK((*m.ci95)[0] == near(1, 1e-12));
  CHECK((*m.ci95)[1] == near(3, 1e-12));
  REQUIRE(m.by_group.size() == 2);
  CHECK(m.by_group[1].value.value() == near(200, 1e-12));
  CHECK(element(m, "ratio", 1) == near(200, 1e-12));
}

TEST_CASE("a ratio with a missing part or a zero below is undefined", "[norm_ratio]") {
  CHECK(norm_ratio(3.0, 2.0) == Number(1.5));
  CHECK_FALSE(norm_ratio(3.0, 0.0).has_value());
  CHECK_FALSE(norm_ratio(std::nullopt, 2.0).has_value());
  CHECK_FALSE(norm_ratio(3.0, std::nullopt).has_value());
}
