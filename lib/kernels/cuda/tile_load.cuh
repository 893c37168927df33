#pragma once
// Tiles in shared memory: asynchronous copies, the swizzle, and products of a 16-row strip with 16 keys.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/tile_layout.h"

namespace sinkscope {

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// Copies 16 bytes, or writes 16 zero bytes when !valid; `global` must be readable either way.
__device__ __forceinline__ void copy_async(std::uint32_t shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes));
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;"); }
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending));
}

/// A tile in shared memory.
template <class T, int D>
struct Tile : TileLayout<static_cast<int>(sizeof(T)), D> {
  using Layout = TileLayout<static_cast<int>(sizeof(T)), D>;

  __device__ static std::uint32_t offset(const TileChunk& at) { return Layout::offset(at.row, at.chunk); }

  /// Queues the copy of `rows` rows from `first` on; rows at or beyond `count` and elements at or beyond `dim` become
  /// 0.
  static __device__ void load(std::uint32_t shared, const T* from, std::int64_t stride, std::int64_t first,
                              std::int64_t count, std::int64_t dim, int rows) {
    for (int i = threadIdx.x; i < rows * Layout::kUsed; i += blockDim.x) {
      const TileChunk at = copied_chunk(i, Layout::kUsed);
      const bool valid = first + at.row < count && at.chunk * Layout::kPerChunk < dim;
      const T* source = valid ? from + (first + at.row) * stride + at.chunk * Layout::kPerChunk : from;
      copy_async(shared + offset(at), source, valid);
    }
  }
};

__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

/// c [16, 8] += a [16, 16] b [16, 8]
__device__ __forceinline__ void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                                         __nv_bfloat16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                                         __half) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Products of the calling warp's 16 rows with a tile of keys; who holds which: fragment_row() and fragment_key().
template <class T, int D>
class Strip {
 public:
  /// `query` is the address of the row tile, `row` the warp's first row in it.
  __device__ Strip(std::uint32_t query, int row, int lane) : query_(query), row_(row) {
    if constexpr (kKeep) {
#pragma unroll
      for (int step = 0; step < D / 16; ++step) load_queries(kept_[step], step, lane);
    }
  }
  /// Groups 2 * pair and 2 * pair + 1.
  __device__ void products(std::uint32_t keys, int pair, int lane, float (&even)[4], float (&odd)[4]) const {
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      std::uint32_t b[4];
      load_matrices(b, keys + Tile<T, D>::offset(key_chunk(pair, step, lane)));
      if constexpr (kKeep) {
        multiply(even, kept_[step], b[0], b[1], T());
        multiply(odd, kept_[step], b[2], b[3], T());
      } else {
        std::uint32_t a[4];
        load_queries(a, step, lane);
        multiply(even, a, b[0], b[1], T());
        multiply(odd, a, b[2], b[3], T());
      }
    }
  }

 private:
  static constexpr bool kKeep = D <= 128;  // beyond, the fragments of the queries would spill
  __device__ void load_queries(std::uint32_t (&a)[4], int step, int lane) const {
    load_matrices(a, query_ + Tile<T, D>::offset(query_chunk(row_, step, lane)));
  }

  std::uint32_t kept_[kKeep ? D / 16 : 1][4];
  std::uint32_t query_;
  int row_;
};

__device__ __forceinline__ float4 load_four(std::uint32_t address) {
  float4 v;
  asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(address));
  return v;
}
__device__ __forceinline__ void add_dot(float& sum, const float4& a, const float4& b) {
  sum = fmaf(a.x, b.x, sum);
  sum = fmaf(a.y, b.y, sum);
  sum = fmaf(a.z, b.z, sum);
  sum = fmaf(a.w, b.w, sum);
}

/// float32 by plain FMA: TF32 alone would lose 13 bits of every product.
template <int D>
class Strip<float, D> {
 public:
  __device__ Strip(std::uint32_t query, int row, int lane) : query_(query), row_(row + fragment_row(lane, 0)) {}
  __device__ void products(std::uint32_t keys, int pair, int lane, float (&even)[4], float (&odd)[4]) const {
#pragma unroll 4
    for (int chunk = 0; chunk < D / 4; ++chunk) {
      const float4 q0 = load_four(query_ + Tile<float, D>::offset({row_, chunk}));
      const float4 q1 = load_four(query_ + Tile<float, D>::offset({row_ + 8, chunk}));
      const int key = pair * 16 + fragment_key(lane, 0);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float4 a = load_four(keys + Tile<float, D>::offset({key + j, chunk}));
        const float4 b = load_four(keys + Tile<float, D>::offset({key + 8 + j, chunk}));
        add_dot(even[j], q0, a);
        add_dot(even[j + 2], q1, a);
        add_dot(odd[j], q0, b);
        add_dot(odd[j + 2], q1, b);
      }
    }
  }

 private:
  std::uint32_t query_;
  int row_;
};

}  // namespace sinkscope
