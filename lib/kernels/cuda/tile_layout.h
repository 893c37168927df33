#pragma once
// Where the CUDA kernel keeps what: elements in shared memory, products in a warp's registers, partial sums in scratch
// memory. Host-device functions without state, so that CPU tests can follow every element
// (tests/kernels/tile_layout_test.cpp).

#include <cstdint>

#include "kernels/cuda/tile_schedule.h"

namespace sinkscope {

inline constexpr int kCudaWarps = kCudaRowTile / 16;  ///< of a block; each has 16 query rows
inline constexpr int kCudaThreads = kCudaWarps * 32;  ///< of a block
inline constexpr int kCudaGroups = kCudaKeyTile / 8;  ///< of 8 keys, one mma wide
inline constexpr int kCudaSlots = 2 * kCudaGroups;    ///< column sums that a thread has
inline constexpr int kCudaPartials = 3;               ///< a row and part: largest t, sum of A, sum of A t

/// Layout in shared memory of a tile with rows of `dim` elements of `element_bytes`: 16-byte chunks, a multiple of 8 a
/// row, xor-swizzled so that the same chunk of eight consecutive rows falls into different banks.
template <int element_bytes, int dim>
struct TileLayout {
  static constexpr int kPerChunk = 16 / element_bytes;
  static constexpr int kUsed = dim / kPerChunk;  ///< chunks of a row that hold elements
  static constexpr int kChunks = (kUsed + 7) / 8 * 8;
  static constexpr int kRowBytes = kChunks * 16;

  SINKSCOPE_HOST_DEVICE static std::uint32_t offset(int row, int chunk) {
    return static_cast<std::uint32_t>(row * kRowBytes + ((chunk ^ (row & 7)) * 16));
  }
};

/// A 16-byte chunk of a tile.
struct TileChunk {
  int row, chunk;
};

/// The `i`-th chunk that is copied, of rows with `used` chunks.
SINKSCOPE_HOST_DEVICE inline TileChunk copied_chunk(int i, int used) { return {i / used, i % used}; }

/// ldmatrix.x4 of 16 query rows from `row` on: the chunk whose address `lane` gives, for elements 16 * step and up.
SINKSCOPE_HOST_DEVICE inline TileChunk query_chunk(int row, int step, int lane) {
  return {row + (lane & 15), step * 2 + (lane >> 4)};
}
/// The same for the 16 keys of groups 2 * pair and 2 * pair + 1.
SINKSCOPE_HOST_DEVICE inline TileChunk key_chunk(int pair, int step, int lane) {
  return {pair * 16 + (lane & 7) + ((lane >> 4) << 3), step * 2 + ((lane >> 3) & 1)};
}

/// Accumulators of mma.m16n8k16, for every type: elements 0..3 of a group of 8 keys are two keys of two rows.
SINKSCOPE_HOST_DEVICE inline int fragment_row(int lane, int element) { return lane / 4 + element / 2 * 8; }
SINKSCOPE_HOST_DEVICE inline int fragment_key(int lane, int element) { return lane % 4 * 2 + element % 2; }
/// Key, within the tile, of column sum `slot` of a thread.
SINKSCOPE_HOST_DEVICE inline int slot_key(int slot, int lane) { return slot / 2 * 8 + fragment_key(lane, slot % 2); }

/// Index of partial `kind` of row 0 of work item `item`, batch_head * parts + part; rows follow each other.
SINKSCOPE_HOST_DEVICE inline std::int64_t partial_index(std::int64_t item, int kind, std::int64_t queries) {
  return (item * kCudaPartials + kind) * queries;
}

}  // namespace sinkscope
