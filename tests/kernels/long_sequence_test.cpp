// Accuracy at T = 8192 against float64, in every dtype and with hard inputs.

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "catch.h"
#include "kernels/full_pass.h"
#include "kernels/fused_statistics.h"
#include "kernels/row_blocks.h"
#include "kernels/score_cases.h"

namespace sinkscope {
namespace {

using Input = testing::ScoreCase::Input;

constexpr std::int64_t kLength = 8192;

/// A causal head whose elements are the same numbers in every dtype.
AttentionCall long_call() {
  at::manual_seed(7);
  const auto rows = [] { return (at::randn({1, 1, kLength, 32}) * 32).round() / 32; };
  return {.query = rows(), .key = rows(), .score = {.scale = 1 / std::sqrt(32.0), .causal = true}};
}

/// In float64 of one block of rows after the other, as a mask: none of the kernels under test has a part in it.
FullPass truth_of(const AttentionCall& call) {
  constexpr std::int64_t kRows = 1024;
  const at::Tensor rows = at::zeros({1, 1, kLength}, at::kDouble);
  FullPass all{.column_sum = at::zeros({1, 1, kLength}, at::kDouble),
               .entropy = rows,
               .row_max = rows.clone(),
               .row_sum = rows.clone()};
  for (std::int64_t row = 0; row < kLength; row += kRows) {
    const std::int64_t seen = row + kRows;
    AttentionCall block{.query = call.query.narrow(2, row, kRows).to(at::kDouble),
                        .key = call.key.narrow(2, 0, seen).to(at::kDouble)};
    block.score.scale = call.score.scale;
    block.mask = at::ones({kRows, seen}, at::kBool).tril(row);
    const FullPass pass = reference(block).pass;
    all.column_sum.narrow(2, 0, seen).add_(pass.column_sum);
    all.entropy.narrow(2, row, kRows).copy_(pass.entropy);
    all.row_max.narrow(2, row, kRows).copy_(pass.row_max);
    all.row_sum.narrow(2, row, kRows).copy_(pass.row_sum);
  }
  return all;
}

double mean_entropy_error(const FullPass& pass, const FullPass& truth) {
  return std::abs(pass.entropy.mean(at::kDouble).item<double>() - truth.entropy.mean().item<double>());
}

}  // namespace

TEST_CASE("column sums of T = 8192 are within 1e-5 and the mean entropy within 1e-5 nats in every dtype", "[kernels]") {
  AttentionCall call = long_call();
  const FullPass truth = truth_of(call);
  const auto check = [&](const FullPass& pass) {
    CHECK(testing::errors(pass, truth).column_sum <= 1e-5);
    CHECK(mean_entropy_error(pass, truth) <= 1e-5);
  };
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    CAPTURE(dtype);
    call = testing::converted(call, dtype);
    call.lse = log_sum_exp(call);
    check(fused_statistics(call));
  }
  call = testing::converted(call, at::kFloat);
  check(row_block_statistics(call));
}

TEST_CASE("rows of 8192 keys agree with the reference in every dtype, with plain and with hard inputs", "[kernels]") {
  for (const Input input : {Input::plain, Input::planted_sink, Input::large, Input::outliers})
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      CAPTURE(input, dtype);
      AttentionCall call = testing::make_call(
          {.name = "", .heads = 1, .kv_heads = 1, .queries = 200, .keys = kLength, .dim = 64, .input = input}, dtype);
      const testing::Yardstick yardstick(call);
      for (const at::Tensor& lse : {call.lse, log_sum_exp(call)}) {  // rounded from float64, and our own
        call.lse = lse;
        testing::check_against(yardstick, call, fused_statistics(call));
      }
    }
}

}  // namespace sinkscope
