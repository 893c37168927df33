#include "base/error.h"
#include "metric/fixtures.h"

using namespace sinkscope;

TEST_CASE("an unknown metric is refused with the nearest name", "[metric]") {
  CHECK_THROWS_AS(find_metric("sinkrate"), UsageError);
  CHECK_THROWS_WITH(find_metric("sinkrate"), contains("did you mean 'sink_rate'?"));
  CHECK_THROWS_WITH(find_metric("attn_entropy"), contains("did you mean 'attention_entropy'?"));
}
