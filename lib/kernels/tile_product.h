#pragma once
// Products of a strip of queries with a run of keys: the only file that knows at::native::cpublas::brgemm, which is no
// stable interface. It is used where it reaches hardware that portable code cannot (AMX tiles); everywhere else 16-bit
// values are widened, which is exact, and tile_kernels.h multiplies in float32, as fast as brgemm does there.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/tile_kernels.h"

namespace sinkscope {

/// The element of a float32, bfloat16 or float16 tensor.
Element element_of(at::ScalarType dtype);
bool has_element(at::ScalarType dtype);

/// One thread's operands. Not shared between threads; the destructor releases the thread's tile hardware.
class TileProduct {
 public:
  enum class Operands { best, packed };

  /// For tiles of `rows` queries and up to `keys` keys of head dim `dim`. `packed` forces brgemm on packed operands
  /// where the processor has no tiles, for tests: AVX-512 with bfloat16 computes the same; elsewhere multiply() throws
  /// c10::Error.
  TileProduct(at::ScalarType dtype, std::int64_t dim, std::int64_t rows, std::int64_t keys,
              Operands operands = Operands::best);
  ~TileProduct();
  TileProduct(const TileProduct&) = delete;
  TileProduct& operator=(const TileProduct&) = delete;

  /// Takes `count` queries [count, dim], `stride` elements apart; they are copied.
  void set_queries(const void* rows, std::int64_t stride, std::int64_t count);
  /// Takes `count` keys [count, dim]; they must outlive the products.
  void set_keys(const void* keys, std::int64_t stride, std::int64_t count);
  /// out [count, strip_rows()]: products of keys [key, key + count) with strip number `strip`.
  void multiply(std::int64_t strip, std::int64_t key, std::int64_t count, float* out) const;

 private:
  void pack_pairs(const void* rows, std::int64_t stride, std::int64_t count, std::int64_t strip);

  at::ScalarType dtype_;
  Element element_;
  std::int64_t dim_, width_;
  bool packed_;
  std::vector<float> panels_;               // float32: [strips, dim, width]
  std::vector<std::uint16_t> pair_panels_;  // packed: [strips, dim / 2, width, 2]
  std::vector<float> wide_keys_;            // [keys, dim]
  const float* float_keys_ = nullptr;
  const std::uint16_t* half_keys_ = nullptr;
  std::int64_t key_stride_ = 0;
};

}  // namespace sinkscope
