// Bringing attention of any layout to [B, H, rows, columns]: the same numbers in every layout, refusal where they
// cannot be told apart.
#include <ATen/ATen.h>

#include "base/error.h"
#include "catch.h"
#include "models.h"
#include "observe/head_layout.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kSequences = 2, kHeads = 3, kLength = 5;

/// A matrix view of one layout, made from [B, H, T, T] and [B, H, T, D] by `lay`.
template <class Lay>
AttentionView view_of(const at::Tensor& matrix, const at::Tensor& rows, Lay lay) {
  AttentionView view;
  view.weights = lay(matrix), view.scores = lay(matrix.log());
  view.key = lay(rows), view.value = lay(rows), view.output = lay(rows);
  return view;
}

TEST_CASE("merged, swapped and grouped heads are the same attention", "[observe]") {
  const at::Tensor matrix = at::softmax(models::numbers({kSequences, kHeads, kLength, kLength}, 1), -1);
  const at::Tensor rows = models::numbers({kSequences, kHeads, kLength, 4}, 2);
  const auto check = [&](AttentionView view, bool heads_first) {
    arrange(view, {kSequences, kLength}, heads_first);
    CHECK(at::equal(view.weights, matrix));
    CHECK(at::equal(view.key, rows));
    CHECK(at::equal(view.output, rows));
    CHECK(view.windows == 1);
  };
  check(view_of(matrix, rows, [](const at::Tensor& x) { return x; }), false);
  check(view_of(matrix, rows, [](const at::Tensor& x) { return x.flatten(0, 1); }), false);
  check(view_of(matrix, rows, [](const at::Tensor& x) { return x.transpose(0, 1).flatten(0, 1); }), true);
  check(view_of(matrix, rows, [](const at::Tensor& x) { return x.transpose(0, 1); }), false);
  check(view_of(matrix, rows, [](const at::Tensor& x) { return x.unsqueeze(2); }), false);
}

TEST_CASE("windows along the batch become queries of their sequence", "[observe]") {
  constexpr std::int64_t kWindows = 4, kSize = 2;
  const at::Tensor matrix = at::softmax(models::numbers({kSequences * kWindows, kHeads, kSize, kSize}, 1), -1);
  const at::Tensor rows = models::numbers({kSequences * kWindows, kHeads, kSize, 4}, 2);
  AttentionView view = view_of(matrix, rows, [](const at::Tensor& x) { return x; });
  arrange(view, {kSequences, kWindows * kSize});
  CHECK(view.windows == kWindows);
  REQUIRE(view.weights.sizes() == at::IntArrayRef({kSequences, kHeads, kWindows * kSize, kSize}));
  CHECK(at::equal(view.weights[1][2].narrow(0, 3 * kSize, kSize), matrix[kWindows + 3][2]));
  CHECK(at::equal(view.key[1][2].narrow(0, 3 * kSize, kSize), rows[kWindows + 3][2]));
}

TEST_CASE("a fused call over windows is written out", "[observe]") {
  constexpr std::int64_t kWindows = 3, kSize = 4;
  const at::Tensor rows = models::numbers({kSequences * kWindows, kHeads, kSize, 4}, 2);
  AttentionView view;
  view.query = view.key = view.value = view.output = rows;
  view.score.causal = true, view.score.scale = 0.5;
  arrange(view, {kSequences, kWindows * kSize});
  CHECK(view.written_out);
  at::Tensor expected = at::matmul(rows, rows.transpose(-1, -2)) * 0.5;
  expected = at::softmax(expected.masked_fill(at::ones({kSize, kSize}, at::kBool).triu(1), -INFINITY), -1);
  CHECK(at::allclose(view.weights[1][2].narrow(0, kSize, kSize), expected[kWindows + 1][2]));
}

TEST_CASE("what cannot be told apart is refused", "[observe]") {
  const auto refused = [](at::IntArrayRef matrix, at::IntArrayRef rows, InputShape input) {
    AttentionView view = view_of(at::ones(matrix), at::ones(rows), [](const at::Tensor& x) { return x; });
    CHECK_THROWS_AS(arrange(view, input), InputError);
  };
  refused({8, 2, 2}, {8, 2, 4}, {2, 8});              // windows of one head, or heads of a short sequence
  refused({7, 8, 8}, {7, 8, 4}, {2, 8});              // no whole number of heads
  refused({2, 4, 3, 2, 2}, {2, 4, 3, 2, 4}, {2, 8});  // windows and heads in dims of their own
}

}  // namespace
}  // namespace sinkscope
