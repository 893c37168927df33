#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>

#include "catch.h"
#include "kernels/tile_kernels.h"
#include "kernels/tile_product.h"

namespace sinkscope {
namespace {

/// Largest error of all products of `rows` queries and `keys` keys.
double product_error(at::ScalarType dtype, std::int64_t dim, std::int64_t rows, TileProduct::Operands operands) {
  const std::int64_t keys = 29, width = strip_rows();
  const at::Tensor query = at::randn({rows, dim + 3}).to(dtype), key = at::randn({keys, dim + 5}).to(dtype);
  TileProduct product(dtype, dim, rows, keys, operands);
  product.set_queries(query.const_data_ptr(), query.stride(0), rows);
  product.set_keys(key.const_data_ptr(), key.stride(0), keys);
  const at::Tensor truth =
      at::matmul(key.narrow(1, 0, dim).to(at::kDouble), query.narrow(1, 0, dim).to(at::kDouble).transpose(0, 1));
  double worst = 0;
  for (std::int64_t strip = 0; strip * width < rows; ++strip) {
    const std::int64_t here = std::min(width, rows - strip * width);
    for (const std::int64_t first : {0, 7}) {
      const at::Tensor out = at::empty({keys - first, width}, at::kFloat);
      product.multiply(strip, first, keys - first, out.mutable_data_ptr<float>());
      const at::Tensor part = truth.narrow(0, first, keys - first).narrow(1, strip * width, here);
      worst = std::max(worst, (out.narrow(1, 0, here) - part).abs().max().item<double>());
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("products of a tile are those of float64 for any head dim and number of rows", "[kernels]") {
  at::manual_seed(1);
  for (const std::string_view set : instruction_sets()) {
    restrict_instruction_set(set);
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf})
      for (const std::int64_t dim : {1, 7, 64, 128})
        for (const std::int64_t rows : {1, 64, 150}) {
          CAPTURE(set, dtype, dim, rows);
          CHECK(product_error(dtype, dim, rows, TileProduct::Operands::best) < 3e-5);
        }
  }
  restrict_instruction_set("");
}

TEST_CASE("packed operands give the same products where the processor takes them", "[kernels]") {
  bool ran = true;
  try {
    for (const std::int64_t dim : {2, 64, 128})
      for (const std::int64_t rows : {1, 64, 150})
        CHECK(product_error(at::kBFloat16, dim, rows, TileProduct::Operands::packed) < 3e-5);
  } catch (const c10::Error&) {
    ran = false;
  }
  if (!ran) WARN("this processor takes no packed bfloat16 operands");
}

}  // namespace sinkscope
