#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "base/error.h"
#include "catch.h"
#include "kernels/instruction_sets.h"
#include "kernels/norms.h"
#include "kernels/stream_statistics.h"

namespace sinkscope {
namespace {

double at_index(const at::Tensor& x, std::int64_t i, std::int64_t j) { return x[i][j].item<double>(); }

void check_against_aten(const at::Tensor& stream) {
  const StreamStatistics found = stream_statistics(stream, {.massive_magnitude = 3, .massive_ratio = 2});
  const at::Tensor wide = stream.to(at::kDouble), magnitude = wide.abs().flatten(1);
  const at::Tensor norm = at::linalg_vector_norm(wide, 2, -1);
  CHECK(found.norm.to(at::kDouble).allclose(norm, 1e-6, 1e-30));
  CHECK(found.median.equal(std::get<0>(magnitude.median(1))));
  CHECK(found.finite.all().item<bool>());
  const std::int64_t top = std::min<std::int64_t>(3, magnitude.size(1));
  const auto [values, order] = magnitude.topk(top, 1);
  CHECK(found.top_value.narrow(1, 0, top).abs().equal(values));
  CHECK(wide.flatten(1).gather(1, found.top_index.narrow(1, 0, top)).equal(found.top_value.narrow(1, 0, top)));
  const at::Tensor massive = (magnitude > 3).logical_and(magnitude >= found.median.unsqueeze(1) * 2).sum(1);
  CHECK((found.massive_index >= 0).sum(1).equal(massive.clamp_max(kMassiveLimit)));
}

}  // namespace

TEST_CASE("lower medians by histograms are the plain medians, with ties, infinities and NaN", "[kernels]") {
  at::manual_seed(4);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf})
    for (const std::int64_t count : {1, 2, 3, 1000, 70001}) {
      CAPTURE(dtype, count);
      at::Tensor x = at::randn({4, count}).to(dtype).abs();
      x[1].mul_(4).round_();  // many equal magnitudes
      x[2].fill_(0);
      x[3].narrow(0, 0, (count + 1) / 2).fill_(std::numeric_limits<double>::infinity());
      CHECK(lower_medians(x).equal(std::get<0>(x.to(at::kDouble).median(1))));
    }
  at::Tensor x = at::ones({2, 100});
  x[1][7] = std::numeric_limits<double>::quiet_NaN();
  CHECK(lower_medians(x)[0].item<double>() == 1);
  CHECK(std::isnan(lower_medians(x)[1].item<double>()));
}

TEST_CASE("norms, largest elements and median of a stream are those of ATen in float64", "[kernels]") {
  const int threads = at::get_num_threads();
  at::manual_seed(3);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble})
    for (const auto& [batch, positions, dim] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{1, 50, 64},
                                                {3, 7, 33},
                                                {2, 1, 1},
                                                {1, 2, 1},
                                                {5, 64, 48},
                                                {1, 3, 2500}})
      for (const int count : {1, 3}) {
        CAPTURE(dtype, batch, positions, dim, count);
        at::set_num_threads(count);
        testing::on_every_instruction_set([&] {
          check_against_aten(at::randn({batch, positions, dim}).to(dtype));
          check_against_aten(at::randn({positions, batch, dim}).to(dtype).transpose(0, 1));
          check_against_aten(at::randn({batch, dim, positions}).to(dtype).transpose(1, 2));
          check_against_aten((at::randn({batch, positions, dim}) * 4).round().to(dtype));  // many equal magnitudes
        });
      }
  at::set_num_threads(threads);
}

TEST_CASE("planted massive activations are found with their place and sign", "[kernels]") {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    at::Tensor stream = at::randn({2, 100, 64}).to(dtype) * 0.1;
    stream[1][0][7] = -2560;
    stream[1][41][9] = 1280;
    stream[1][99][63] = 99;  // below the magnitude
    const StreamStatistics found = stream_statistics(stream, {});
    CHECK((found.massive_index >= 0).sum().item<std::int64_t>() == 2);
    CHECK(at_index(found.massive_value, 1, 0) == -2560);
    CHECK(at_index(found.massive_index, 1, 0) == 7);
    CHECK(at_index(found.massive_index, 1, 1) == 41 * 64 + 9);
    CHECK(at_index(found.top_value, 1, 2) == 99);
    CHECK(std::isnan(at_index(found.massive_value, 0, 0)));
  }
}

TEST_CASE("of many massive elements the largest hundred are listed, largest first", "[kernels]") {
  at::Tensor stream = at::zeros({1, 40, 10});
  for (std::int64_t i = 0; i < 150; ++i) stream[0][i % 40][i / 40] = 200 + static_cast<double>(i * 37 % 150);
  const StreamStatistics found = stream_statistics(stream, {});
  CHECK(found.massive_value.size(1) == 100);
  for (std::int64_t i = 0; i < 100; ++i) CHECK(at_index(found.massive_value, 0, i) == 349 - static_cast<double>(i));
}

TEST_CASE("a stream with NaN or Inf is flagged", "[kernels]") {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble})
    for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      at::Tensor stream = at::randn({2, 9, 20}).to(dtype);
      stream[1][8][19] = bad;
      const StreamStatistics found = stream_statistics(stream, {.extremes = false});
      CHECK(found.finite[0].item<bool>());
      CHECK_FALSE(found.finite[1].item<bool>());
      CHECK_FALSE(found.median.defined());
    }
}

TEST_CASE("norms of heads are those of float64 on every instruction set", "[kernels]") {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    CAPTURE(dtype);
    const at::Tensor x = at::randn({2, 5, 3, 40}).to(dtype).transpose(1, 2);
    testing::on_every_instruction_set([&] {
      CHECK(vector_norms(x).to(at::kDouble).allclose(at::linalg_vector_norm(x.to(at::kDouble), 2, -1), 1e-6, 0));
    });
  }
}

TEST_CASE("norms of huge and tiny float32 values do not overflow or vanish", "[kernels]") {
  const at::Tensor stream = at::full({1, 1, 16}, 1e30), tiny = at::full({1, 1, 16}, 1e-30);
  CHECK(at_index(stream_statistics(stream, {}).norm, 0, 0) == Approx(4e30).epsilon(1e-6));
  CHECK(stream_statistics(stream, {}).finite.item<bool>());
  CHECK(at_index(stream_statistics(tiny, {}).norm, 0, 0) == Approx(4e-30).epsilon(1e-6));
}

TEST_CASE("empty streams and streams of the wrong rank", "[kernels]") {
  CHECK(stream_statistics(at::zeros({0, 4, 8}), {}).norm.size(0) == 0);
  CHECK(std::isnan(stream_statistics(at::zeros({1, 0, 8}), {}).median.item<double>()));
  CHECK_THROWS_AS(stream_statistics(at::zeros({4, 8}), {}), InputError);
  CHECK_THROWS_AS(stream_statistics(at::zeros({1, 4, 8}, at::kLong), {}), InputError);
}

TEST_CASE("norms of keys and head outputs are reduced over positions", "[kernels]") {
  const at::Tensor x = at::zeros({1, 2, 3, 4});
  x[0][1][0].fill_(2);  // norm 4
  x[0][1][1][0] = 3;
  x[0][1][2][0] = -5;
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const FirstAndOthers keys = first_and_others_norms(x.to(dtype));
    CHECK(at_index(keys.first, 0, 1) == near(4, 1e-6));
    CHECK(at_index(keys.others, 0, 1) == near(4, 1e-6));
    const MeanAndLast heads = mean_and_last_norms(x.to(dtype));
    CHECK(at_index(heads.mean, 0, 1) == near(4, 1e-6));
    CHECK(at_index(heads.last, 0, 1) == near(5, 1e-6));
  }
  CHECK(std::isnan(at_index(first_and_others_norms(at::zeros({1, 1, 1, 4})).others, 0, 0)));
  CHECK(std::isnan(at_index(mean_and_last_norms(at::zeros({1, 1, 0, 4})).last, 0, 0)));
  CHECK_THROWS_AS(mean_and_last_norms(at::zeros({1, 1, 4})), InputError);
}

}  // namespace sinkscope
