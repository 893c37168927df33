#include <ATen/TensorOperators.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"
#include "catch.h"
#include "kernels/first_keys.h"
#include "kernels/instruction_sets.h"
#include "kernels/score_cases.h"

namespace sinkscope {
namespace {

double largest(const at::Tensor& x) { return x.numel() == 0 ? 0.0 : x.abs().max().item<double>(); }

void check_sums(const testing::ScoreCase& score_case, const AttentionCall& call, const testing::Yardstick& yardstick) {
  const std::int64_t queries = score_case.queries, keys = score_case.keys;
  const double tolerance = (2 * yardstick.eager_errors.row_max + yardstick.rounding) *
                           static_cast<double>(std::max<std::int64_t>(queries, 1));
  const at::Tensor selected = at::rand({score_case.batch, queries}) < 0.5;
  const FirstKeysSums sums =
      first_keys_sums(call, {.keys = 3, .tail_rows = 5, .after_first_k = 4, .selected = selected});
  CHECK(sums.key_sum.size(2) == std::min<std::int64_t>(3, keys));
  if (queries == 0 || keys == 0) return;
  const at::Tensor p = yardstick.truth.probabilities, first = p.select(3, 0);
  const std::int64_t tail = std::min<std::int64_t>(5, queries), skipped = std::min<std::int64_t>(4, queries);
  CHECK(largest(sums.key_sum - p.narrow(3, 0, sums.key_sum.size(2)).sum(2)) <= tolerance);
  CHECK(largest(sums.first_query - first.select(2, 0)) <= tolerance);
  CHECK(largest(sums.last_query - first.select(2, queries - 1)) <= tolerance);
  CHECK(largest(sums.tail_sum - first.narrow(2, queries - tail, tail).sum(-1)) <= tolerance);
  const at::Tensor later = p.narrow(2, skipped, queries - skipped).narrow(3, 0, std::min<std::int64_t>(4, keys));
  CHECK(largest(sums.after_first_k_sum - later.sum({2, 3})) <= tolerance);
  CHECK(largest(sums.selected_sum - (first * selected.unsqueeze(1)).sum(-1)) <= tolerance);
  CHECK(sums.learned_sink_sum.defined() == score_case.sink);
  if (!score_case.sink) return;
  const at::Tensor mass = 1 - p.sum(-1);
  CHECK(largest(sums.learned_sink_sum - mass.sum(-1)) <= tolerance);
  CHECK(largest(sums.renormalised_sum - at::where(first == 0, 0.0, first / (1 - mass)).sum(-1)) <= 10 * tolerance);
}

}  // namespace

TEST_CASE("attention to the first keys is the reference's, on every case and dtype", "[kernels]") {
  for (const auto& score_case : testing::score_cases())
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      CAPTURE(score_case.name, dtype);
      const AttentionCall call = testing::make_call(score_case, dtype);
      const testing::Yardstick yardstick(call);
      const double tolerance = 2 * yardstick.eager_errors.row_max + yardstick.rounding;
      for (const std::int64_t count : {1, 4}) {
        const std::int64_t keys = std::min<std::int64_t>(count, score_case.keys);
        const at::Tensor truth = yardstick.truth.probabilities.narrow(3, 0, keys);
        CHECK(largest(first_key_probabilities(call, count) - truth) <= tolerance);
        if (score_case.queries < 3) continue;
        CHECK(largest(first_key_probabilities(call, count, 1, 2) - truth.narrow(2, 1, 2)) <= tolerance);
      }
    }
}

TEST_CASE("sums over the first keys are sums of the reference's probabilities on every instruction set", "[kernels]") {
  for (const auto& score_case : testing::score_cases())
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      CAPTURE(score_case.name, dtype);
      const AttentionCall call = testing::make_call(score_case, dtype);
      const testing::Yardstick yardstick(call);
      testing::on_every_instruction_set([&] { check_sums(score_case, call, yardstick); });
    }
}

TEST_CASE("what a sink that takes nearly all leaves is renormalised to the digits of the keys' own log-sum-exp",
          "[kernels]") {
  for (const bool masked : {false, true}) {  // a mask goes through ATen, the rest through the scan kernels
    AttentionCall call = testing::make_call({.name = ""}, at::kFloat);
    if (masked) call.mask = at::ones({call.query.size(2), call.key.size(2)}, at::kBool);
    const at::Tensor without = reference(call).probabilities;
    call.key_lse = reference(call).lse.to(at::kFloat);
    call.sink_logit = at::full({call.query.size(1)}, 40.F);
    call.lse = reference(call).lse.to(at::kFloat);
    const at::Tensor got = first_keys_sums(call, {.keys = 1}).renormalised_sum / call.query.size(2);
    CHECK(largest(got - without.select(3, 0).mean(-1)) < 1e-5);
  }
}

TEST_CASE("what is not requested is not there", "[kernels]") {
  const FirstKeysSums sums = first_keys_sums(testing::make_call({.name = ""}, at::kFloat), {});
  CHECK_FALSE(sums.tail_sum.defined());
  CHECK_FALSE(sums.after_first_k_sum.defined());
  CHECK_FALSE(sums.selected_sum.defined());
}

TEST_CASE("selected rows must be booleans of every query", "[kernels]") {
  const AttentionCall call = testing::make_call({.name = ""}, at::kFloat);
  CHECK_THROWS_AS(first_keys_sums(call, {.selected = at::zeros({1, 70})}), InputError);
  CHECK_THROWS_AS(first_keys_sums(call, {.selected = at::zeros({1, 69}, at::kBool)}), InputError);
}

}  // namespace sinkscope
