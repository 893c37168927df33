// The log-sum-exp that is computed where a backend gave none, against float64.

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "catch.h"
#include "kernels/full_pass.h"
#include "kernels/fused_log_sum_exp.h"
#include "kernels/fused_statistics.h"
#include "kernels/instruction_sets.h"
#include "kernels/row_blocks.h"
#include "kernels/score_cases.h"

namespace sinkscope {
namespace {

/// By the yardstick of the other kernels: twice eager attention's error of a logit, and a few roundings.
void check_lse(const testing::Yardstick& yardstick, const at::Tensor& found) {
  const at::Tensor& truth = yardstick.truth.lse;
  CHECK(found.sizes() == truth.sizes());
  CHECK((found == INFINITY).equal(truth == INFINITY));  // nothing in the denominator
  const at::Tensor error = (found.to(at::kDouble) - truth).masked_fill(truth == INFINITY, 0).abs();
  CHECK((error.numel() == 0 ? 0.0 : error.max().item<double>()) <=
        2 * yardstick.eager_errors.row_max + yardstick.rounding);
}

AttentionCall small_call(std::int64_t length) {
  return testing::make_call(
      {.name = "", .heads = 3, .kv_heads = 1, .queries = length, .keys = length, .score = {.causal = true}},
      at::kFloat);
}

}  // namespace

TEST_CASE("the fused log-sum-exp is the reference's on every case, dtype and instruction set", "[kernels]") {
  for (const testing::ScoreCase& score_case : testing::score_cases())
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const AttentionCall call = testing::make_call(score_case, dtype);
      if (!fused_statistics_supports(call)) continue;
      CAPTURE(score_case.name, dtype);
      const testing::Yardstick yardstick(call);
      testing::on_every_instruction_set([&] { check_lse(yardstick, fused_log_sum_exp(call)); });
    }
}

TEST_CASE("the log-sum-exp by row blocks is the reference's on every case and dtype", "[kernels]") {
  for (const testing::ScoreCase& score_case : testing::score_cases())
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
      CAPTURE(score_case.name, dtype);
      const AttentionCall call = testing::make_call(score_case, dtype);
      check_lse(testing::Yardstick(call), row_block_log_sum_exp(call, 200000));
    }
}

TEST_CASE("the log-sum-exp of negative, zero and tiny scales is the reference's", "[kernels]") {
  for (const double scale : {-0.7, -40.0, 0.0, 1e-35})
    for (const double softcap : {0.0, 3.0}) {
      CAPTURE(scale, softcap);
      AttentionCall call = small_call(150);
      call.score.scale = scale;
      call.score.softcap = softcap;
      const testing::Yardstick yardstick(call);
      testing::on_every_instruction_set([&] { check_lse(yardstick, fused_log_sum_exp(call)); });
    }
}

TEST_CASE("the log-sum-exp is the same bit for bit for any number of threads", "[kernels]") {
  const int threads = at::get_num_threads();
  const AttentionCall call = small_call(1500);
  at::set_num_threads(1);
  const at::Tensor one = fused_log_sum_exp(call);
  for (const int count : {1, 2, 5}) {
    at::set_num_threads(count);
    CHECK(fused_log_sum_exp(call).equal(one));
  }
  at::set_num_threads(threads);
}

TEST_CASE("a NaN or infinite logit leaves no finite log-sum-exp in its row, and a hidden one changes nothing",
          "[kernels]") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    CAPTURE(bad);
    AttentionCall call = small_call(300);
    const at::Tensor clean = fused_log_sum_exp(call);
    call.key = call.key.clone();
    call.key.abs_().select(2, 200).fill_(bad);
    call.query = call.query.abs();
    const at::Tensor found = fused_log_sum_exp(call);
    CHECK(found.narrow(2, 0, 200).isfinite().all().item<bool>());  // they do not see key 200
    CHECK_FALSE(found.narrow(2, 200, 100).isfinite().any().item<bool>());
  }
}

TEST_CASE("calls of the CPU's fused dtypes take the fused log-sum-exp, all others the row blocks", "[kernels]") {
  const AttentionCall call = small_call(200);
  CHECK(log_sum_exp(call).equal(fused_log_sum_exp(call)));
  const AttentionCall wide = testing::converted(call, at::kDouble);
  CHECK(log_sum_exp(wide).equal(row_block_log_sum_exp(wide)));
  CHECK_THROWS_AS(fused_log_sum_exp(wide), InputError);
  AttentionCall masked = call;
  masked.mask = at::randn({200, 200});
  CHECK(log_sum_exp(masked).equal(row_block_log_sum_exp(masked)));
  AttentionCall bad = call;
  bad.key = at::randn({1, 2, 200, 16});
  CHECK_THROWS_AS(log_sum_exp(bad), InputError);
}

}  // namespace sinkscope
