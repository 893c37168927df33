// Every implementation of the full pass against the float64 reference, on every case of the score function.

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "catch.h"
#include "kernels/full_pass.h"
#include "kernels/fused_statistics.h"
#include "kernels/instruction_sets.h"
#include "kernels/row_blocks.h"
#include "kernels/score_cases.h"

namespace sinkscope {
namespace {

using testing::ScoreCase;

/// Restores the number of threads.
struct Settings {
  int threads = at::get_num_threads();
  ~Settings() { at::set_num_threads(threads); }
};

AttentionCall causal_call(std::int64_t heads, std::int64_t length, std::int64_t dim, at::ScalarType dtype) {
  return testing::make_call({.name = "",
                             .heads = heads,
                             .kv_heads = heads,
                             .queries = length,
                             .keys = length,
                             .dim = dim,
                             .score = {.causal = true}},
                            dtype);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

}  // namespace

TEST_CASE("row blocks agree with the reference on every case, dtype and block size", "[kernels]") {
  for (const ScoreCase& score_case : testing::score_cases())
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      const AttentionCall call = testing::make_call(score_case, dtype);
      const testing::Yardstick yardstick(call);
      for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{200000}, kBlockBytes}) {
        if (bytes == 1 && (dtype != at::kFloat || score_case.queries > 100)) continue;  // one row at a time is slow
        CAPTURE(score_case.name, dtype, bytes);
        testing::check_against(yardstick, call, row_block_statistics(call, bytes));
      }
    }
}

TEST_CASE("the fused pass agrees with the reference on every case, dtype and instruction set", "[kernels]") {
  for (const ScoreCase& score_case : testing::score_cases())
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const AttentionCall call = testing::make_call(score_case, dtype);
      if (!fused_statistics_supports(call)) continue;
      const testing::Yardstick yardstick(call);
      CAPTURE(score_case.name, dtype);
      testing::on_every_instruction_set([&] { testing::check_against(yardstick, call, fused_statistics(call)); });
    }
}

TEST_CASE("the comparison with the reference notices small damage", "[kernels]") {
  const AttentionCall call = causal_call(2, 200, 32, at::kFloat);
  const Reference truth = reference(call);
  const auto damaged = [&](auto&& change) {
    FullPass pass = fused_statistics(call);
    change(pass);
    return testing::errors(pass, truth.pass);
  };
  const testing::Errors eager_errors = testing::errors(eager(call).pass, truth.pass);
  CHECK(damaged([](FullPass& p) { p.column_sum[0][1][7] *= 1.0001; }).column_sum > 2 * eager_errors.column_sum + 2e-6);
  CHECK(damaged([](FullPass& p) { p.entropy[0][1][7] += 1e-4; }).entropy > 2 * eager_errors.entropy + 1e-5);
  CHECK(damaged([](FullPass& p) { p.row_max[0][1][7] -= 1e-4; }).row_max > 2 * eager_errors.row_max + 2e-6);
  CHECK(damaged([](FullPass& p) { p.row_sum[0][1][7] += 1e-4; }).row_sum > 2 * eager_errors.row_sum + 2e-6);
}

TEST_CASE("the fused pass repeats bit for bit and hardly depends on the number of threads", "[kernels]") {
  const Settings settings;
  for (const std::int64_t heads : {1, 3}) {
    const AttentionCall call = causal_call(heads, 1500, 32, at::kFloat);
    at::set_num_threads(1);
    const FullPass one = fused_statistics(call);
    for (const int threads : {1, 2, 5}) {
      CAPTURE(heads, threads);
      at::set_num_threads(threads);
      const FullPass pass = fused_statistics(call), again = fused_statistics(call);
      CHECK(pass.column_sum.equal(again.column_sum));
      CHECK(pass.entropy.equal(again.entropy));
      CHECK(largest_difference(pass.column_sum / one.column_sum, at::full({}, 1.0)) <= 1e-6);
      CHECK(pass.entropy.equal(one.entropy));  // rows are never split
      CHECK(pass.row_max.equal(one.row_max));
      CHECK(pass.row_sum.equal(one.row_sum));
    }
  }
}

TEST_CASE("a fully masked row contributes nothing whatever its log-sum-exp", "[kernels]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  AttentionCall call = testing::make_call(
      {.name = "", .queries = 9, .keys = 9, .score = {.causal = true}, .padding = true, .first_hidden = true},
      at::kFloat);
  for (const float lse : {0.0F, kInfinity, -kInfinity}) {
    CAPTURE(lse);
    call.lse = call.lse.clone();
    call.lse.select(2, 0).fill_(lse);
    for (const FullPass& pass : {fused_statistics(call), row_block_statistics(call)}) {
      testing::check_against(testing::Yardstick(call), call, pass);
      CHECK(pass.row_sum.select(2, 0).abs().max().item<double>() == 0);
    }
  }
}

TEST_CASE("NaN and infinite scores give NaN, in their rows and columns only", "[kernels]") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    AttentionCall call = causal_call(1, 100, 16, at::kFloat);
    call.query[0][0][60].fill_(1.0);
    call.query[0][0][60][3] = bad;  // row 60 sees keys 0..60
    call.lse = log_sum_exp(call);
    CHECK_FALSE(std::isfinite(call.lse[0][0][60].item<double>()));
    for (const FullPass& pass : {fused_statistics(call), row_block_statistics(call)}) {
      CAPTURE(bad);
      CHECK(std::isnan(pass.row_sum[0][0][60].item<double>()));
      CHECK(std::isnan(pass.entropy[0][0][60].item<double>()));
      CHECK(std::isnan(pass.row_max[0][0][60].item<double>()));
      CHECK(pass.row_sum.isnan().sum().item<std::int64_t>() == 1);
      CHECK(pass.column_sum.isnan().any().item<bool>());
      CHECK_FALSE(pass.column_sum.narrow(2, 61, 39).isnan().any().item<bool>());
    }
  }
}

TEST_CASE("a key that is hidden may hold anything", "[kernels]") {
  AttentionCall call = testing::make_call(
      {.name = "", .queries = 90, .keys = 90, .score = {.causal = true}, .padding = true}, at::kFloat);
  const FullPass clean = fused_statistics(call);
  call.key.select(2, 45).fill_(std::numeric_limits<float>::quiet_NaN());  // hidden by the padding
  const FullPass pass = fused_statistics(call);
  CHECK(pass.column_sum.equal(clean.column_sum));
  CHECK(pass.entropy.equal(clean.entropy));
}

TEST_CASE("calls that make no sense are refused with their sizes", "[kernels]") {
  const auto call = [](std::int64_t heads, std::int64_t kv_heads) {
    return AttentionCall{
        .query = at::randn({1, heads, 4, 8}), .key = at::randn({1, kv_heads, 4, 8}), .lse = at::zeros({1, heads, 4})};
  };
  CHECK_NOTHROW(fused_statistics(call(4, 2)));
  CHECK_THROWS_AS(fused_statistics(call(3, 2)), InputError);              // H not a multiple of G
  CHECK_THROWS_WITH(fused_statistics(call(2, 4)), contains("multiple"));  // more KV heads than query heads
  CHECK_THROWS_WITH(row_block_statistics(call(0, 0)), contains("no heads"));
  AttentionCall bad = call(2, 2);
  bad.key = at::randn({1, 2, 4, 6});
  CHECK_THROWS_WITH(fused_statistics(bad), contains("head dim"));
  bad = call(2, 2);
  bad.lse = at::zeros({1, 2, 5});
  CHECK_THROWS_WITH(fused_statistics(bad), contains("log-sum-exp"));
  bad = call(2, 2);
  bad.key = bad.key.to(at::kDouble);
  CHECK_THROWS_WITH(fused_statistics(bad), contains("dtype"));
  bad = call(2, 2);
  bad.query = bad.query[0];
  CHECK_THROWS_WITH(fused_statistics(bad), contains("4 dimensions"));
  bad = call(2, 2);
  bad.mask = at::zeros({4, 4});
  std::string why;
  CHECK_FALSE(fused_statistics_supports(bad, &why));
  CHECK_THAT(why, contains("mask"));
}

}  // namespace sinkscope
