// The inner loops over rows, on every instruction set.

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "catch.h"
#include "kernels/instruction_sets.h"
#include "kernels/scan_kernels.h"

namespace sinkscope {
namespace {

std::vector<float> numbers(std::size_t count, std::uint64_t seed, double scale) {
  SplitMix64 random(seed);
  std::vector<float> values(count);
  for (float& x : values) x = static_cast<float>(scale * (2 * random.unit() - 1));
  return values;
}

}  // namespace

TEST_CASE("probabilities of few keys err by 3e-7 and 6e-8 a nat, and vanish below 2^-126", "[kernels]") {
  constexpr std::int64_t kStride = 2 * kMaxColumnLanes, kRows = 200;
  constexpr double kScale = 0.3, kSmallest = 126 * 0.6931471805599453;
  const std::vector<float> products = numbers(kRows * kStride, 1, 150);
  std::vector<float> lse = numbers(kRows, 2, 45);
  for (float& x : lse) x += 45;  // logits - lse in [-135, 45]
  testing::on_every_instruction_set([&] {
    std::vector<float> values = products;
    few_probabilities(values.data(), kRows, kStride, lse.data(), kScale);
    double worst = 0;  // of the promised error
    for (std::int64_t i = 0; i < kRows * kStride; ++i) {
      const double t = kScale * products[i] - static_cast<double>(lse[i / kStride]);
      if (t < -kSmallest - 1e-4) CHECK(values[i] <= 1.2e-38F);
      if (t < -kSmallest + 1e-4) continue;
      worst = std::max(worst, std::abs(values[i] / std::exp(t) - 1) / (3e-7 + 6e-8 * std::abs(t)));
    }
    CHECK(worst < 1);
  });
}

TEST_CASE("products of few keys are those of float64", "[kernels]") {
  testing::on_every_instruction_set([&] {
    for (const std::int64_t dim : {1, 7, 64})
      for (const std::int64_t keys : {1, 3, 17})
        for (const std::int64_t rows : {1, 8, 13}) {
          CAPTURE(dim, keys, rows);
          const std::int64_t stride = dim + 2, out_stride = few_key_stride(keys);
          const std::vector<float> query = numbers(rows * stride, 3, 1), key = numbers(keys * dim, 4, 1);
          std::vector<float> out(rows * out_stride, 99);
          few_key_products(query.data(), Element::f32, stride, rows, dim, key.data(), keys, out.data());
          double worst = 0;
          for (std::int64_t i = 0; i < rows; ++i)
            for (std::int64_t j = 0; j < out_stride; ++j) {
              double sum = 0;
              for (std::int64_t d = 0; j < keys && d < dim; ++d)
                sum += static_cast<double>(query[i * stride + d]) * key[j * dim + d];
              worst = std::max(worst, std::abs(out[i * out_stride + j] - sum));
            }
          CHECK(worst < 1e-5);
        }
  });
}

TEST_CASE("lower halves are those of the elements with the upper half that is asked for", "[kernels]") {
  SplitMix64 random(5);
  std::vector<std::uint32_t> bits(203);
  for (auto& x : bits)
    x = static_cast<std::uint32_t>(random.unit() * 4) << 16 | (static_cast<std::uint32_t>(random.unit() * 65536));
  for (std::size_t i = 0; i < bits.size(); i += 3) bits[i] |= 0x80000000U;  // the sign does not count
  testing::on_every_instruction_set([&] {
    for (const std::size_t count : {0, 1, 16, 203}) {
      std::vector<std::uint32_t> expected, out(bits.size() + kMaxColumnLanes);
      for (std::size_t i = 0; i < count; ++i)
        if ((bits[i] & 0x7fff0000U) == 2U << 16) expected.push_back(bits[i] & 0xffffU);
      const std::int64_t found = lower_halves(bits.data(), static_cast<std::int64_t>(count), 2, out.data());
      out.resize(static_cast<std::size_t>(found));
      CHECK(out == expected);
    }
  });
}

TEST_CASE("a row's squares and largest magnitude are those of float64, also where float32 has no room", "[kernels]") {
  testing::on_every_instruction_set([&] {
    for (const double scale : {1.0, 1e30, 1e-30})
      for (const std::int64_t count : {1, 31, 64, 2500}) {
        CAPTURE(scale, count);
        const std::vector<float> row = numbers(count, 6, scale);
        double squares = 0, largest = 0;
        for (const float x : row)
          squares += static_cast<double>(x) * x, largest = std::max(largest, std::abs(static_cast<double>(x)));
        const RowScan scan = scan_row(row.data(), Element::f32, count);
        CHECK(std::abs(scan.squares / squares - 1) < 1e-6);
        CHECK(scan.largest == largest);
      }
  });
}

}  // namespace sinkscope
