#include <cmath>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

TEST_CASE("the row entropies of the three-token fixture average to 0.5675548937 nats, query 0 included as 0",
          "[attention_entropy]") {
  const Measurement m = measure("attention_entropy", one_head(kThree));
  CHECK(m.value.value() == near((0 + 0.6730116670 + 1.0296530141) / 3, 1e-10));
  CHECK(m.value.value() == near(0.5675548937, 1e-10));
}

TEST_CASE("the series normalised divides each row by ln of its visible keys, row 0 counting as 0",
          "[attention_entropy]") {
  const Measurement m = measure("attention_entropy", one_head(kThree));
  CHECK(element(m, "normalised") == near((0 + 0.9709505945 + 0.9372305633) / 3, 1e-10));
  CHECK(element(m, "normalised") == near(0.6360603859, 1e-10));
}

TEST_CASE("uniform attention has the entropy mean ln(visible keys) and normalised entropy 1 but for query 0",
          "[attention_entropy]") {
  for (const Visibility& mask :
       {Visibility::causal(32, 32), Visibility::window(32, 6), Visibility::chunk(32, 5), Visibility::full(32, 32)}) {
    CAPTURE(name_of(mask.kind()));
    double expected = 0, choices = 0;
    for (std::int64_t i = 0; i < 32; ++i) {
      expected += std::log(static_cast<double>(mask.visible(i))) / 32;
      choices += mask.visible(i) > 1 ? 1.0 / 32 : 0;
    }
    Site site{.heads = {uniform_attention(mask)}, .mask = mask};
    const Measurement m = measure("attention_entropy", {one_site(site)});
    CHECK(m.value.value() == near(expected, 1e-12));
    CHECK(m.uniform.value() == near(expected, 1e-12));
    CHECK(element(m, "normalised") == near(choices, 1e-12));
    CHECK(uniform_element(m, "normalised") == near(choices, 1e-12));
  }
}

TEST_CASE("the entropy of rows that sum to less than one is over the real keys and not renormalised",
          "[attention_entropy]") {
  Site site = causal_site({{{0.5}}});  // the other half of the probability went to a learned sink
  site.row_sum = "free";
  CHECK(measure("attention_entropy", {one_site(site)}).value.value() == near(0.5 * std::log(2.0), 1e-12));
}

TEST_CASE("attention_entropy lies between 0 and ln T", "[attention_entropy]") {
  SplitMix64 random(5);
  const Measurement m = measure("attention_entropy", one_head(random_attention(Visibility::causal(30, 30), random)));
  CHECK(m.value.value() > 0);
  CHECK(m.value.value() < m.uniform.value());
  CHECK(measure("attention_entropy", one_head(planted_sink(30, 1.0))).value.value() == 0);
}
