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
  const auto check = [&](auto lay) {
    AttentionView view = view_of(matrix, rows, lay);
    arrange(view, {kSequences, kLength});
    CHECK(at::equal(view.weights, matrix));
    CHECK(at::equal(view.key, rows));
    CHECK(at::equal(view.output, rows));
    CHECK(view.windows == 1);
  };
  check([](const at::Tensor& x) { return x; });
  check([](const at::Tensor& x) { return x.flatten(0, 1); });
  check([](const at::Tensor& x) { return x.flatten(0, 1).unsqueeze(1); });
  check([](const at::Tensor& x) { return x.transpose(0, 1); });
  check([](const at::Tensor& x) { return x.unsqueeze(2); });
}

/// Arranges a batch made by `lay` as a program does: once, then each sequence alone while something is open, then again
/// with what that has shown.
template <class Lay>
AttentionView arranged_twice(const at::Tensor& matrix, const at::Tensor& rows, Lay lay, std::int64_t length,
                             HeadOrders& orders) {
  const auto run = [&](const at::Tensor& m, const at::Tensor& r) {
    AttentionView view = view_of(m, r, lay);
    arrange(view, {m.size(0), length}, &orders, SiteId{0});
    return view;
  };
  orders.begin_run();
  run(matrix, rows);
  for (std::int64_t s = 0; s < matrix.size(0) && orders.open(); ++s) {
    orders.begin_run(s);
    run(matrix.narrow(0, s, 1), rows.narrow(0, s, 1));
  }
  orders.settle();
  CHECK_FALSE(orders.open());
  orders.begin_run();
  return run(matrix, rows);
}

TEST_CASE("a sequence alone shows whether sequences or heads come first where they are merged", "[observe]") {
  const at::Tensor matrix = at::softmax(models::numbers({kSequences, kHeads, kLength, kLength}, 1), -1);
  const at::Tensor rows = models::numbers({kSequences, kHeads, kLength, 4}, 2);
  const auto check = [&](bool inner, auto lay) {
    HeadOrders orders;
    const AttentionView view = arranged_twice(matrix, rows, lay, kLength, orders);
    CHECK(orders.take_mistaken() == inner);
    CHECK(at::equal(view.weights, matrix));
    CHECK(at::equal(view.key, rows));
    CHECK(at::equal(view.output, rows));
  };
  check(false, [](const at::Tensor& x) { return x.flatten(0, 1); });
  check(true, [](const at::Tensor& x) { return x.transpose(0, 1).flatten(0, 1); });
  check(false, [](const at::Tensor& x) { return x.flatten(0, 1).unsqueeze(1); });
  check(true, [](const at::Tensor& x) { return x.transpose(0, 1).flatten(0, 1).unsqueeze(1); });
  // The matrix has its heads apart, what stands beside it has not.
  check(true, [](const at::Tensor& x) { return x.size(-1) == kLength ? x : x.transpose(0, 1).flatten(0, 1); });
}

TEST_CASE("where both orders of a merged dim hold the same numbers the next batch is asked", "[observe]") {
  const at::Tensor alike = at::full({kSequences, kHeads, kLength, kLength}, 0.2), rows = at::ones({2, 3, kLength, 4});
  const auto lay = [](const at::Tensor& x) { return x.transpose(0, 1).flatten(0, 1); };
  HeadOrders orders;
  CHECK(at::equal(arranged_twice(alike, rows, lay, kLength, orders).weights, alike));
  CHECK_FALSE(orders.take_mistaken());
  const at::Tensor matrix = at::softmax(models::numbers({kSequences, kHeads, kLength, kLength}, 1), -1);
  CHECK(at::equal(arranged_twice(matrix, rows, lay, kLength, orders).weights, matrix));
  CHECK(orders.take_mistaken());
}

TEST_CASE("a sequence that its batch does not hold leaves nothing to guess", "[observe]") {
  const at::Tensor matrix = at::softmax(models::numbers({kSequences * kHeads, kLength, kLength}, 1), -1);
  HeadOrders orders;
  orders.begin_run();
  orders.sequences_inner(SiteId{0}, matrix, kSequences);
  orders.begin_run(0);
  const at::Tensor other = at::softmax(models::numbers({kHeads, kLength, kLength}, 7), -1);
  CHECK_THROWS_AS(orders.sequences_inner(SiteId{0}, other, 1), InputError);
  orders.begin_run(0);
  CHECK_THROWS_AS(orders.sequences_inner(SiteId{0}, other.narrow(0, 0, 2), 1), InputError);
}

TEST_CASE("heads that a product broadcasts are written out, keys and values have as many", "[observe]") {
  const at::Tensor matrix = at::softmax(models::numbers({kSequences, 1, kLength, kLength}, 1), -1);
  const at::Tensor rows = models::numbers({kSequences, kHeads, kLength, 4}, 2), one = rows.narrow(1, 0, 1);
  AttentionView view;
  view.weights = matrix, view.scores = matrix.log(), view.key = one, view.value = view.output = rows;
  arrange(view, {kSequences, kLength});
  CHECK(at::equal(view.weights, matrix.expand({-1, kHeads, -1, -1})));
  CHECK(at::equal(view.key, one.expand_as(rows)));

  view = {};
  view.query = view.key = view.output = rows, view.value = one.select(0, 0).select(0, 0);  // one table for all
  arrange(view, {kSequences, kLength});
  CHECK(view.value.sizes() == rows.sizes());

  view = {};
  view.query = view.output = at::ones({kSequences, 6, kLength, 4});
  view.key = at::ones({kSequences, 3, kLength, 4}), view.value = at::ones({kSequences, 2, kLength, 4});
  CHECK_THROWS_AS(arrange(view, {kSequences, kLength}), InputError);
}

TEST_CASE("parts of keys are joined along the head dim, one head of them for all", "[observe]") {
  const at::Tensor rows = models::numbers({kSequences, kHeads, kLength, 4}, 2), shared = rows.narrow(1, 1, 1);
  AttentionView view;
  view.query = view.key = view.value = view.output = rows;
  view.more_keys = {shared, shared.squeeze(1)};
  arrange(view, {kSequences, kLength});
  CHECK(at::equal(view.key, at::cat({rows, shared.expand_as(rows), shared.expand_as(rows)}, -1)));
  CHECK(view.more_keys.empty());
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

TEST_CASE("windows that stand before the batch are folded into their own sequence", "[observe]") {
  constexpr std::int64_t kWindows = 4, kSize = 2;
  const at::Tensor matrix = at::softmax(models::numbers({kSequences, kWindows, kHeads, kSize, kSize}, 1), -1);
  const at::Tensor rows = models::numbers({kSequences, kWindows, kHeads, kSize, 4}, 2);
  const auto sequences_first = [](const at::Tensor& x) { return x.flatten(0, 1); };
  const auto windows_first = [](const at::Tensor& x) { return x.transpose(0, 1).flatten(0, 1); };
  HeadOrders orders, other_orders;
  const AttentionView expected = arranged_twice(matrix, rows, sequences_first, kWindows * kSize, orders),
                      got = arranged_twice(matrix, rows, windows_first, kWindows * kSize, other_orders);
  CHECK_FALSE(orders.take_mistaken());
  CHECK(other_orders.take_mistaken());
  CHECK(got.windows == kWindows);
  CHECK(at::equal(got.weights, expected.weights));
  CHECK(at::equal(got.key, expected.key));
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

TEST_CASE("a run over another number of sequences tells heads from sequences", "[observe]") {
  const auto arranged = [](HeadOrders& orders, at::IntArrayRef matrix, std::int64_t sequences, std::int64_t length) {
    AttentionView view = view_of(at::ones(matrix), at::ones(matrix), [](const at::Tensor& x) { return x; });
    arrange(view, {sequences, length}, &orders, SiteId{0});
    return view;
  };
  SECTION("as many heads as sequences, heads first") {
    HeadOrders orders;
    arranged(orders, {3, 3, 5, 5}, 3, 5);
    CHECK(orders.open());
    arranged(orders, {3, 1, 5, 5}, 1, 5);
    CHECK_FALSE(orders.open());
    CHECK(orders.take_mistaken());
    CHECK_FALSE(orders.take_mistaken());
    AttentionView view =
        view_of(at::arange(9).view({3, 3, 1, 1}), at::ones({3, 3, 1, 1}), [](const at::Tensor& x) { return x; });
    arrange(view, {3, 1}, &orders, SiteId{0});
    CHECK(view.weights[0][1].item<int>() == 3);
  }
  SECTION("as many heads as sequences, sequences first") {
    HeadOrders orders;
    arranged(orders, {3, 3, 5, 5}, 3, 5);
    arranged(orders, {1, 3, 5, 5}, 1, 5);
    CHECK_FALSE(orders.open());
    CHECK_FALSE(orders.take_mistaken());
  }
  SECTION("windows of inputs whose length is not known") {
    HeadOrders orders;
    CHECK(arranged(orders, {8, 2, 5, 5}, 2, 0).windows == 4);
    CHECK(orders.open());
    orders.begin_run(0);
    arranged(orders, {4, 2, 5, 5}, 1, 0);
    orders.begin_run(1);
    arranged(orders, {4, 2, 5, 5}, 1, 0);
    orders.settle();  // all windows are alike
    CHECK_FALSE(orders.open());
    CHECK_FALSE(orders.take_mistaken());
  }
  SECTION("heads in front of inputs whose length is not known") {
    HeadOrders orders;
    arranged(orders, {8, 2, 5, 5}, 2, 0);
    arranged(orders, {8, 1, 5, 5}, 1, 0);
    CHECK(orders.take_mistaken());
    CHECK(arranged(orders, {8, 2, 5, 5}, 2, 0).weights.sizes() == at::IntArrayRef({2, 8, 5, 5}));
  }
  SECTION("two runs that no order explains are refused") {
    HeadOrders orders;
    arranged(orders, {3, 3, 5, 5}, 3, 5);
    CHECK_THROWS_AS(arranged(orders, {3, 3, 5, 5}, 1, 5), InputError);
  }
}

TEST_CASE("the log-sum-exp of heads in front of the batch moves with them", "[observe]") {
  AttentionView view;
  view.query = view.key = view.value = view.output = at::ones({kHeads, kSequences, kLength, 4});
  view.lse = models::numbers({kHeads, kSequences, kLength}, 3);
  const at::Tensor expected = view.lse.transpose(0, 1);
  arrange(view, {kSequences, kLength});
  CHECK(at::equal(view.lse, expected));
}

TEST_CASE("what cannot be told apart is refused", "[observe]") {
  const auto refused = [](at::IntArrayRef matrix, at::IntArrayRef rows, InputShape input) {
    AttentionView view = view_of(at::ones(matrix), at::ones(rows), [](const at::Tensor& x) { return x; });
    CHECK_THROWS_AS(arrange(view, input), InputError);
  };
  refused({8, 2, 2}, {8, 2, 4}, {2, 8});              // windows of one head, or heads of a short sequence
  refused({7, 8, 8}, {7, 8, 4}, {2, 8});              // no whole number of heads
  refused({2, 4, 3, 2, 2}, {2, 4, 3, 2, 4}, {2, 8});  // windows and heads in dims of their own
  refused({2, 4, 3, 2, 2}, {2, 4, 3, 2, 4}, {2, 0});  // the same of an input whose length is not known
  refused({2, 4, 1, 2, 2}, {2, 4, 1, 2, 4}, {2, 0});
  refused({4, 3, 8, 8}, {4, 3, 8, 4}, {2, 8});  // every sequence twice
  refused({8, 1, 3, 3}, {8, 1, 3, 4}, {2, 8});  // neither windows that cover the sequence nor heads that see all of it
  refused({8, 1, 5, 5}, {8, 1, 5, 4}, {2, 0});  // windows of one head or heads of one window
}

TEST_CASE("groups of heads that share their keys are no windows, also of an input whose length is not known",
          "[observe]") {
  const at::Tensor matrix = at::softmax(models::numbers({2, 2, 3, 5, 5}, 1), -1);
  for (const bool with_group_dim : {false, true}) {
    AttentionView view = view_of(matrix, models::numbers({2, 2, 3, 5, 4}, 2), [](const at::Tensor& x) { return x; });
    const at::Tensor key = models::numbers({2, 2, 5, 4}, 3);
    view.key = view.value = with_group_dim ? key.unsqueeze(2) : key;
    arrange(view, {2, 0});
    CHECK(at::equal(view.weights, matrix.flatten(1, 2)));
    CHECK(at::equal(view.key, key));
  }
}

}  // namespace
}  // namespace sinkscope
