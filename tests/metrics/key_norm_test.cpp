#include <limits>

#include "metric/fixtures.h"

using namespace sinkscope;
using namespace sinkscope::synthetic;

namespace {

/// Four query heads over two KV heads with these norms of their keys.
Input norms(const Matrix& key_norms) {
  const auto length = static_cast<std::int64_t>(key_norms.at(0).size());
  const Matrix attention = uniform_attention(Visibility::causal(length, length));
  Site site = causal_site({attention, attention, attention, attention});
  site.key_norms = Matrix(2, std::vector<double>(key_norms[0].size(), 77));
  site.value_norms = site.key_norms;
  site.key_norms = key_norms;
  return one_site(site);
}

}  // namespace

TEST_CASE("key_norm is the mean over KV heads of the norm of key 0 to the mean of the others", "[key_norm]") {
  const Measurement m = measure("key_norm", {norms({{1, 4, 6}, {3, 3, 3}})});
  CHECK(element(m, "first", 0) == 1);
  CHECK(element(m, "others", 0) == 5);
  CHECK(element(m, "ratio", 0) == near(0.2, 1e-12));
  CHECK(element(m, "ratio", 1) == near(1, 1e-12));
  CHECK(m.value.value() == near(0.6, 1e-12));
  CHECK(m.count == 2);
  CHECK(m.count_of == "site x KV head");
  CHECK(series(m, "ratio").dims == std::vector<std::string>{"site", "kv_head"});
  CHECK(series(m, "ratio").shape == std::vector<std::size_t>{1, 2});
  CHECK_FALSE(m.uniform.has_value());
}

TEST_CASE("key_norm averages norms over sequences before it divides", "[key_norm]") {
  const Measurement m = measure("key_norm", {norms({{10, 1}, {1, 1}}), norms({{2, 3}, {1, 1}})});
  CHECK(element(m, "ratio") == near(3, 1e-12));
  REQUIRE(m.ci95.has_value());
  CHECK((*m.ci95)[0] == near((2.0 / 3 + 1) / 2, 1e-12));
  CHECK((*m.ci95)[1] == near((10.0 + 1) / 2, 1e-12));
}

TEST_CASE("the ratio of key_norm is undefined with one token and with others of norm 0", "[key_norm]") {
  const Measurement single = measure("key_norm", {norms({{2}, {2}})});
  CHECK_FALSE(single.value.has_value());
  CHECK(single.rejected == 0);
  CHECK(element(single, "first") == 2);
  CHECK(measure("key_norm", {norms({{2, 0}, {2, 1}})}).value.value() == 2);
}

TEST_CASE("a KV head with a NaN key has no norm and is counted", "[key_norm]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Measurement m = measure("key_norm", {norms({{1, nan, 6}, {3, 3, 3}})});
  CHECK(m.value.value() == near(1, 1e-12));
  CHECK_FALSE(series(m, "first").data.at(0).has_value());
  CHECK(m.rejected == 1);
}

TEST_CASE("a KV head of key_norm counts as long as one valid query head reads it", "[key_norm]") {
  Input input = norms({{1, 2}, {1, 4}});
  input.sites[0].heads[0][0][0] = std::numeric_limits<double>::quiet_NaN();
  CHECK(measure("key_norm", {input}).count == 2);
  input.sites[0].heads[1] = input.sites[0].heads[0];  // now no reader of KV head 0 is valid
  const Measurement m = measure("key_norm", {input});
  CHECK(m.count == 1);
  CHECK(m.rejected == 1);
  CHECK(m.value.value() == near(0.25, 1e-12));
}
