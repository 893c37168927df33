#include "config/selection.h"

#include "base/error.h"
#include "catch.h"

using namespace sinkscope;

TEST_CASE("ranges of layers include both ends", "[config]") {
  const LayerSelection layers = LayerSelection::parse("0-2,5");
  std::vector<std::int64_t> chosen;
  for (std::int64_t layer = 0; layer < 8; ++layer)
    if (layers.contains(layer)) chosen.push_back(layer);
  CHECK(chosen == std::vector<std::int64_t>{0, 1, 2, 5});
  CHECK_FALSE(layers.contains(std::nullopt));
}

TEST_CASE("a list of layers of another form is refused", "[config]") {
  for (const char* text : {"", ",", "1,", "-1", "2-", "3-1", "a", "1 ,2", "1;2", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(LayerSelection::parse(text), UsageError);
  }
}

TEST_CASE("a star in a glob matches across dots", "[config]") {
  CHECK(glob_matches("model.*.self_attn", "model.layers.0.self_attn"));
  CHECK(glob_matches("*layers.[01].*", "model.layers.1.attn"));
  CHECK_FALSE(glob_matches("model.*.self_attn", "model.layers.0.self_attn.q"));
  CHECK_FALSE(glob_matches("layers", "model.layers"));
}
