// Where the CUDA kernel keeps elements, products and partial sums: its index arithmetic, followed on the CPU.

#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "catch.h"
#include "kernels/cuda/tile_layout.h"

namespace sinkscope {
namespace {

using Registers = std::array<std::array<float, 2>, 4>;  // of one thread: two 16-bit elements each

/// Shared memory with `rows` rows whose element (row, d) is value(row, d), copied chunk by chunk.
template <class Layout, class Value>
std::vector<float> filled(int rows, const Value& value) {
  std::vector<float> memory(static_cast<std::size_t>(rows * Layout::kRowBytes / 2), -1e9F);
  for (int i = 0; i < rows * Layout::kUsed; ++i) {
    const TileChunk at = copied_chunk(i, Layout::kUsed);
    for (int e = 0; e < Layout::kPerChunk; ++e)
      memory.at(Layout::offset(at.row, at.chunk) / 2 + static_cast<std::size_t>(e)) =
          value(at.row, at.chunk * Layout::kPerChunk + e);
  }
  return memory;
}

/// ldmatrix.x4 as PTX defines it: thread 8 m + r gives the address of row r of matrix m; of each matrix thread t
/// receives elements 2 (t % 4) and one more of row t / 4.
template <class Layout, class Chunk>
std::vector<Registers> load_matrices(const std::vector<float>& memory, const Chunk& chunk) {
  std::vector<Registers> registers(32);
  for (int m = 0; m < 4; ++m)
    for (int t = 0; t < 32; ++t) {
      const TileChunk at = chunk(8 * m + t / 4);
      for (int e = 0; e < 2; ++e)
        registers[static_cast<std::size_t>(t)][static_cast<std::size_t>(m)][static_cast<std::size_t>(e)] =
            memory.at(Layout::offset(at.row, at.chunk) / 2 + static_cast<std::size_t>(t % 4 * 2 + e));
    }
  return registers;
}

/// mma.m16n8k16 as PTX defines its operands: c [16][8] += a b, with registers `first` and first + 1 of b.
void multiply(std::array<std::array<float, 8>, 16>& c, const std::vector<Registers>& a, const std::vector<Registers>& b,
              std::size_t first) {
  std::array<std::array<float, 16>, 16> left{};
  std::array<std::array<float, 8>, 16> right{};
  for (std::size_t t = 0; t < 32; ++t)
    for (std::size_t e = 0; e < 2; ++e) {
      for (std::size_t r = 0; r < 4; ++r) left[t / 4 + r % 2 * 8][t % 4 * 2 + e + r / 2 * 8] = a[t][r][e];
      for (std::size_t r = 0; r < 2; ++r) right[t % 4 * 2 + e + r * 8][t / 4] = b[t][first + r][e];
    }
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j)
      for (std::size_t k = 0; k < 16; ++k) c[i][j] += left[i][k] * right[k][j];
}

float query_value(int row, int d) { return static_cast<float>((row * 7 + d * 3) % 11 - 5); }
float key_value(int key, int d) { return static_cast<float>((key * 5 + d * 2) % 13 - 6); }

template <int dim>
std::int64_t wrong_products() {
  using Layout = TileLayout<2, dim>;
  const auto queries = filled<Layout>(kCudaRowTile, query_value), keys = filled<Layout>(kCudaKeyTile, key_value);
  std::int64_t wrong = 0;
  for (int warp = 0; warp < kCudaWarps; ++warp)
    for (int pair = 0; pair < kCudaGroups / 2; ++pair) {
      std::array<std::array<std::array<float, 8>, 16>, 2> products{};  // of the even and the odd group
      for (int step = 0; step < dim / 16; ++step) {
        const auto a = load_matrices<Layout>(queries, [&](int lane) { return query_chunk(warp * 16, step, lane); });
        const auto b = load_matrices<Layout>(keys, [&](int lane) { return key_chunk(pair, step, lane); });
        multiply(products[0], a, b, 0);
        multiply(products[1], a, b, 2);
      }
      for (int group = 0; group < 2; ++group)
        for (int lane = 0; lane < 32; ++lane)
          for (int element = 0; element < 4; ++element) {
            const int row = fragment_row(lane, element), key = fragment_key(lane, element);
            float expected = 0;
            for (int d = 0; d < dim; ++d)
              expected += query_value(warp * 16 + row, d) * key_value(pair * 16 + group * 8 + key, d);
            wrong += products[static_cast<std::size_t>(group)][static_cast<std::size_t>(row)]
                             [static_cast<std::size_t>(key)] != expected;
          }
    }
  return wrong;
}

template <class Layout>
void check_chunks(int rows) {
  std::set<std::uint32_t> offsets;
  for (int i = 0; i < rows * Layout::kUsed; ++i) {
    const TileChunk at = copied_chunk(i, Layout::kUsed);
    const std::uint32_t offset = Layout::offset(at.row, at.chunk);
    CHECK(offset + 16 <= static_cast<std::uint32_t>(rows * Layout::kRowBytes));
    offsets.insert(offset);
  }
  CHECK(offsets.size() == static_cast<std::size_t>(rows * Layout::kUsed));
  for (int chunk = 0; chunk < Layout::kUsed; ++chunk) {  // eight rows at once without a conflict of banks
    std::set<std::uint32_t> banks;
    for (int row = 0; row < 8; ++row) banks.insert(Layout::offset(row, chunk) % 128);
    CHECK(banks.size() == 8);
  }
}

}  // namespace

TEST_CASE("the CUDA kernel's tensor core operands give the products of the rows and keys it counts them for",
          "[kernels]") {
  CHECK(wrong_products<64>() == 0);
  CHECK(wrong_products<96>() == 0);
  CHECK(wrong_products<128>() == 0);
  CHECK(wrong_products<256>() == 0);
}

TEST_CASE("chunks of a CUDA tile lie apart and in other banks for eight consecutive rows", "[kernels]") {
  check_chunks<TileLayout<2, 64>>(kCudaRowTile);
  check_chunks<TileLayout<2, 96>>(kCudaKeyTile);
  check_chunks<TileLayout<2, 256>>(kCudaKeyTile);
  check_chunks<TileLayout<4, 64>>(kCudaKeyTile);
  check_chunks<TileLayout<4, 96>>(kCudaRowTile);
  check_chunks<TileLayout<4, 128>>(kCudaKeyTile);
}

TEST_CASE("the CUDA kernel's column sums belong to the keys of its products", "[kernels]") {
  for (int lane = 0; lane < 32; ++lane)
    for (int group = 0; group < kCudaGroups; ++group)
      for (int element = 0; element < 4; ++element)
        CHECK(slot_key(group * 2 + element % 2, lane) == group * 8 + fragment_key(lane, element));
  std::set<int> keys;  // lanes 0 to 3 write what all lanes of their residue have
  for (int lane = 0; lane < 4; ++lane)
    for (int slot = 0; slot < kCudaSlots; ++slot) keys.insert(slot_key(slot, lane));
  CHECK(keys.size() == kCudaKeyTile);
  CHECK(*keys.rbegin() == kCudaKeyTile - 1);
}

TEST_CASE("row partials of the CUDA kernel lie apart and fill their scratch memory", "[kernels]") {
  const std::int64_t batch_heads = 3, parts = 4, queries = 5;
  std::set<std::int64_t> places;
  for (std::int64_t item = 0; item < batch_heads * parts; ++item)
    for (int kind = 0; kind < kCudaPartials; ++kind)
      for (std::int64_t row = 0; row < queries; ++row) places.insert(partial_index(item, kind, queries) + row);
  CHECK(static_cast<std::int64_t>(places.size()) == batch_heads * parts * kCudaPartials * queries);
  CHECK(*places.begin() == 0);
  CHECK(*places.rbegin() == batch_heads * parts * kCudaPartials * queries - 1);
}

}  // namespace sinkscope
