// What ties a graph to the dtype it was traced in.
#include "graph/fixed_dtype.h"

#include "catch.h"
#include "graph/inline_with_paths.h"
#include "models.h"

namespace sinkscope {
namespace {

/// Why a module with this forward, a float32 [4] buffer `table`, a bool buffer `hidden` and a scalar buffer `one` cannot
/// be moved; "" if it can.
std::string reason(const std::string& body, at::ScalarType wanted = at::kBFloat16, at::ScalarType own = at::kFloat) {
  torch::jit::Module m("M");
  m.register_parameter("weight", at::ones({4, 4}), false);
  m.register_buffer("table", at::ones({4}));
  m.register_buffer("hidden", at::ones({4}, at::kBool));
  m.register_buffer("one", at::ones({}));
  m.register_buffer("third", at::ones({}) / 3);
  m.define("def forward(self, x):\n    y = torch.matmul(x, self.weight)\n    " + body + "\n");
  const FlatGraph flat = inline_with_paths(m);
  return fixed_to_dtype(*flat.graph, m, own, wanted).value_or("");
}

TEST_CASE("a cast to the dtype of the trace ties a graph to it, one to another dtype does not", "[graph]") {
  CHECK_THAT(reason("return y.to(6)"), contains("to in '' asks for float32"));
  CHECK_THAT(reason("return torch.softmax(y, -1, dtype=6)"), contains("softmax"));
  CHECK(reason("return y.to(11)").empty());
  CHECK(reason("return torch.softmax(y, -1, dtype=6)", at::kHalf, at::kBFloat16).empty());
  CHECK(reason("return torch.softmax(y, -1)").empty());
}

TEST_CASE("tensors made in the default dtype tie a float32 graph", "[graph]") {
  CHECK_THAT(reason("return y + torch.zeros([4])"), contains("zeros"));
  CHECK_THAT(reason("return y + torch.full([4], 0.5)"), contains("full"));
  CHECK_THAT(reason("return y + torch.arange(0.0, 4.0)"), contains("arange"));
  CHECK(reason("return y + torch.arange(4)").empty());
  CHECK(reason("return y + torch.zeros_like(y)").empty());
  CHECK(reason("return y + torch.zeros([4])", at::kHalf, at::kBFloat16).empty());  // was wider before too
}

TEST_CASE("tables in the dtype of the trace tie a graph; masks, and numbers that both dtypes hold, do not", "[graph]") {
  CHECK_THAT(reason("return y + self.table"), contains("add in '' reads the buffer table in float32"));
  CHECK_THAT(reason("return y * self.third"), contains("third"));
  CHECK(reason("return y * self.one").empty());
  CHECK(reason("return y.masked_fill(self.hidden, float('-inf'))").empty());
  CHECK(reason("return y").empty());  // what nothing reads ties nothing
}

TEST_CASE("a number beyond the range of the wanted dtype ties a graph", "[graph]") {
  const char* body = "return y.masked_fill(self.hidden, -3.4028234663852886e38)";
  CHECK_THAT(reason(body), contains("bfloat16 cannot hold"));
  CHECK_THAT(reason(body, at::kHalf), contains("float16 cannot hold"));
  CHECK(reason("return y.masked_fill(self.hidden, -10000.0)", at::kHalf).empty());
}

}  // namespace
}  // namespace sinkscope
