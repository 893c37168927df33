// Column sums, row entropy, row maximum and row sum in one pass over Q K^T. Key-stationary: a thread block keeps 128
// keys of one head in shared memory and walks over tiles of 64 queries (double buffer). Column sums stay in registers.
// Row statistics of a tile need two shuffles; they are added to partials in global memory that belong to this thread
// block alone, row by row always by the same thread, so there are no atomics and no order to get wrong. A
// query-stationary second kernel would compute every product twice; the partials cost 24 bytes of L2 traffic a row and
// 128 keys, against 2 D bytes for the queries themselves.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/fused_statistics_launch.h"
#include "kernels/cuda/tile_layout.h"
#include "kernels/cuda/tile_load.cuh"
#include "kernels/cuda/tile_schedule.h"

namespace sinkscope {
namespace {

constexpr int kFlushSteps =
    16;  // row tiles between which column sums move from registers to shared memory: shorter sums
constexpr float kLowest = -126.0F;  // smallest t; 2^t is then the smallest normal number

/// What the kernels read beyond the caller's arguments.
struct KernelArgs {
  FusedStatisticsArgs call;
  float2* rows;          // [B, H, Q]: log-sum-exp in units of x, and in units of t what rounding it left over
  float* partial;        // [B, H, parts, 3, Q]: largest t, sum of A, sum of A t
  float scale;           // t = (x - centre) * scale + shift
  float cap_scale;       // x = tanh(product * cap_scale) where there is a soft cap, otherwise the product
  double natural, unit;  // nats of a step of x and of t
};

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__global__ void prepare_rows(KernelArgs args) {
  const std::int64_t count = args.call.batch * args.call.heads * args.call.queries;
  const bool flat = args.scale == 0;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    // A fully masked row may come with -inf; +inf gives it probability 0 as well, and no NaN.
    const double lse = args.call.lse[i] == -INFINITY ? INFINITY : args.call.lse[i];
    const float centre = flat || isinf(lse) ? 0.0F : static_cast<float>(lse / args.natural);
    args.rows[i] = make_float2(centre, static_cast<float>((centre * args.natural - lse) / args.unit));
  }
}

__global__ void finish_rows(KernelArgs args) {
  const FusedStatisticsArgs& call = args.call;
  const std::int64_t count = call.batch * call.heads * call.queries;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::int64_t batch_head = i / call.queries, row = i % call.queries;
    float most = -INFINITY;
    double sum = 0, weighted = 0;
    for (std::int64_t part = 0; part < call.parts; ++part) {
      const std::int64_t item = batch_head * call.parts + part;
      const auto partial = [&](int kind) { return args.partial[partial_index(item, kind, call.queries) + row]; };
      most = fmaxf(most, partial(0));
      sum += partial(1);
      weighted += partial(2);
    }
    call.row_sum[i] = static_cast<float>(sum);
    call.entropy[i] = static_cast<float>(-args.unit * weighted);
    call.row_max[i] = isnan(sum) ? NAN : isinf(most) ? most : static_cast<float>(call.lse[i] + most * args.unit);
  }
}

/// Statistics of the two rows of a thread within one tile.
struct RowSums {
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, weighted[2] = {0, 0};
};

/// Shared memory of a block: keys, two tiles of queries, their rows, and the flushed column sums of every thread.
template <class T, int D>
struct Layout {
  static constexpr int kKeyBytes = kCudaKeyTile * Tile<T, D>::kRowBytes,
                       kQueryBytes = kCudaRowTile * Tile<T, D>::kRowBytes;
  static constexpr int kRows = kKeyBytes + 2 * kQueryBytes,
                       kFlushed = kRows + 2 * kCudaRowTile * static_cast<int>(sizeof(float2));
  static constexpr int kBytes = kFlushed + kCudaSlots * kCudaThreads * static_cast<int>(sizeof(float));
};

template <class T, int D, bool kSoftcap>
class Block {
 public:
  __device__ Block(const KernelArgs& args, unsigned char* shared, std::int64_t item)
      : args_(args), call_(args.call), shared_(shared), batch_head_(item / call_.parts), part_(item % call_.parts) {
    const std::int64_t batch = batch_head_ / call_.heads, head = batch_head_ % call_.heads;
    const std::int64_t kv_head = head / (call_.heads / call_.kv_heads);
    query_ = static_cast<const T*>(call_.query) + batch * call_.query_stride[0] + head * call_.query_stride[1];
    key_ = static_cast<const T*>(call_.key) + batch * call_.key_stride[0] + kv_head * call_.key_stride[1];
    visible_ = call_.key_visible ? call_.key_visible + batch * call_.keys : nullptr;
    rows_ = args.rows + batch_head_ * call_.queries;
    partial_ = args.partial + partial_index(item, 0, call_.queries);
    lane_ = static_cast<int>(threadIdx.x) % 32;
    warp_ = static_cast<int>(threadIdx.x) / 32;
  }

  __device__ void run() {
    for (std::int64_t i = threadIdx.x; i < call_.queries; i += kCudaThreads) {
      partial(0, i) = -INFINITY;
      partial(1, i) = partial(2, i) = 0;
    }
    const std::int64_t steps = key_block_steps(call_.keys, call_.parts);
    for (std::int64_t step = 0; step < steps; ++step) {
      const std::int64_t key = key_block(part_, step, call_.parts) * kCudaKeyTile;
      if (key < call_.keys) key_tile(key);
    }
  }

 private:
  using Shared = Layout<T, D>;

  __device__ std::uint32_t query_address(std::int64_t step) const {
    return shared_address(shared_) + Shared::kKeyBytes + static_cast<std::uint32_t>(step & 1) * Shared::kQueryBytes;
  }
  __device__ float2* row_values(std::int64_t step) const {
    return reinterpret_cast<float2*>(shared_ + Shared::kRows) + (step & 1) * kCudaRowTile;
  }
  __device__ float& flushed(int slot) const {
    return reinterpret_cast<float*>(shared_ + Shared::kFlushed)[slot * kCudaThreads + static_cast<int>(threadIdx.x)];
  }

  __device__ float& partial(int kind, std::int64_t row) const {
    return partial_[partial_index(0, kind, call_.queries) + row];
  }

  __device__ void load_rows(std::int64_t row, std::int64_t step) {
    Tile<T, D>::load(query_address(step), query_, call_.query_stride[2], row, call_.queries, call_.dim, kCudaRowTile);
    for (int i = threadIdx.x; i < kCudaRowTile; i += kCudaThreads)
      row_values(step)[i] = row + i < call_.queries ? rows_[row + i] : make_float2(0, -INFINITY);
  }

  __device__ void key_tile(std::int64_t key) {
    __syncthreads();  // the previous tile's column sums, or the cleared partials
    Tile<T, D>::load(shared_address(shared_), key_, call_.key_stride[2], key, call_.keys, call_.dim, kCudaKeyTile);
    const RowRange range = rows_of_keys(call_.score, key, call_.keys, call_.queries);
    const std::int64_t steps = range.steps();
    if (steps > 0) load_rows(range.row(0), 0);
    commit_copies();
    float columns[kCudaGroups][2];
#pragma unroll
    for (int group = 0; group < kCudaGroups; ++group)
#pragma unroll
      for (int j = 0; j < 2; ++j) columns[group][j] = flushed(group * 2 + j) = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
      if (step + 1 < steps) load_rows(range.row(step + 1), step + 1);
      commit_copies();
      wait_for_copies<1>();
      __syncthreads();
      row_tile(range.row(step), step, key, columns);
      if (step % kFlushSteps == kFlushSteps - 1) flush(columns);
      __syncthreads();  // the buffer may be overwritten now
    }
    flush(columns);
    wait_for_copies<0>();
    __syncthreads();
    write_columns(key);
  }

  __device__ void flush(float (&columns)[kCudaGroups][2]) const {
#pragma unroll
    for (int group = 0; group < kCudaGroups; ++group)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        flushed(group * 2 + j) += columns[group][j];
        columns[group][j] = 0;
      }
  }

  __device__ void row_tile(std::int64_t row, std::int64_t step, std::int64_t key, float (&columns)[kCudaGroups][2]) {
    const int local[2] = {warp_ * 16 + fragment_row(lane_, 0), warp_ * 16 + fragment_row(lane_, 2)};
    const float2 rows[2] = {row_values(step)[local[0]], row_values(step)[local[1]]};
    const Strip<T, D> strip(query_address(step), warp_ * 16, lane_);
    RowSums sums;
    if (visible_ == nullptr && tile_is_full(call_.score, row, call_.queries, key, call_.keys))
      all_groups<false>(strip, rows, row + warp_ * 16, key, columns, sums);
    else
      all_groups<true>(strip, rows, row + warp_ * 16, key, columns, sums);
#pragma unroll
    for (int half = 0; half < 2; ++half)
      add_to_partial(row + local[half], sums.most[half], sums.sum[half], sums.weighted[half]);
  }

  template <bool kMasked>
  __device__ void all_groups(const Strip<T, D>& strip, const float2 (&rows)[2], std::int64_t row, std::int64_t key,
                             float (&columns)[kCudaGroups][2], RowSums& sums) {
#pragma unroll
    for (int pair = 0; pair < kCudaGroups / 2; ++pair) {
      float even[4] = {0, 0, 0, 0}, odd[4] = {0, 0, 0, 0};
      strip.products(shared_address(shared_), pair, lane_, even, odd);
      group<kMasked>(even, rows, row, key + pair * 16, columns[pair * 2], sums);
      group<kMasked>(odd, rows, row, key + pair * 16 + 8, columns[pair * 2 + 1], sums);
    }
  }

  template <bool kMasked>
  __device__ __forceinline__ void group(const float (&products)[4], const float2 (&rows)[2], std::int64_t row,
                                        std::int64_t key, float (&columns)[2], RowSums& sums) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int half = i / 2;
      const float x = kSoftcap ? tanhf(products[i] * args_.cap_scale) : products[i];
      float t = fmaf(x - rows[half].x, args_.scale, rows[half].y);
      if (kMasked && !sees(row + fragment_row(lane_, i), key + fragment_key(lane_, i))) continue;
      sums.most[half] = fmaxf(sums.most[half], t);
      t = t < kLowest ? kLowest : t;  // NaN stays
      const float p = exp2_fast(t);
      columns[i % 2] += p;
      sums.sum[half] += p;
      sums.weighted[half] = fmaf(p, t, sums.weighted[half]);
    }
  }

  __device__ bool sees(std::int64_t row, std::int64_t key) const {
    return pair_is_visible(call_.score, row, call_.queries, key, call_.keys, visible_);
  }

  /// Four neighbouring threads hold parts of the same row; the first of them owns its partial.
  __device__ void add_to_partial(std::int64_t row, float most, float sum, float weighted) {
#pragma unroll
    for (int distance = 1; distance <= 2; distance *= 2) {
      most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, distance));
      sum += __shfl_xor_sync(0xffffffffU, sum, distance);
      weighted += __shfl_xor_sync(0xffffffffU, weighted, distance);
    }
    if ((lane_ & 3) != 0 || row >= call_.queries) return;
    partial(0, row) = fmaxf(partial(0, row), most);
    partial(1, row) += sum;
    partial(2, row) += weighted;
  }

  /// Adds up the column sums of all threads; the keys are no longer needed, so their memory holds the sums of the
  /// warps.
  __device__ void write_columns(std::int64_t key) {
    float* warps = reinterpret_cast<float*>(shared_);  // [kCudaWarps, kCudaKeyTile]
#pragma unroll
    for (int slot = 0; slot < kCudaSlots; ++slot) {
      float value = flushed(slot);
      value += __shfl_xor_sync(0xffffffffU, value, 4);
      value += __shfl_xor_sync(0xffffffffU, value, 8);
      value += __shfl_xor_sync(0xffffffffU, value, 16);
      if (lane_ < 4) warps[warp_ * kCudaKeyTile + slot_key(slot, lane_)] = value;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kCudaKeyTile && key + i < call_.keys; i += kCudaThreads) {
      float value = 0;
      for (int warp = 0; warp < kCudaWarps; ++warp) value += warps[warp * kCudaKeyTile + i];
      call_.column_sum[batch_head_ * call_.keys + key + i] = value;
    }
  }

  const KernelArgs& args_;
  const FusedStatisticsArgs& call_;
  unsigned char* shared_;
  std::int64_t batch_head_, part_;
  const T *query_, *key_;
  const std::uint8_t* visible_;
  const float2* rows_;
  float* partial_;
  int lane_, warp_;
};

template <class T, int D, bool kSoftcap>
__global__ void __launch_bounds__(kCudaThreads) fused_statistics_kernel(const __grid_constant__ KernelArgs args) {
  extern __shared__ __align__(128) unsigned char shared[];
  const std::int64_t items = args.call.batch * args.call.heads * args.call.parts;
  for (std::int64_t item = blockIdx.x; item < items; item += gridDim.x) Block<T, D, kSoftcap>(args, shared, item).run();
}

unsigned bounded_grid(std::int64_t blocks) {
  return static_cast<unsigned>(std::min<std::int64_t>(std::max<std::int64_t>(blocks, 1), 65535));
}

template <class T, int D, bool kSoftcap>
cudaError_t launch_kernel(const KernelArgs& args, cudaStream_t stream) {
  constexpr int kBytes = Layout<T, D>::kBytes;
  const cudaError_t status = cudaFuncSetAttribute(fused_statistics_kernel<T, D, kSoftcap>,
                                                  cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (status != cudaSuccess) return status;
  const unsigned grid = bounded_grid(args.call.batch * args.call.heads * args.call.parts);
  fused_statistics_kernel<T, D, kSoftcap><<<grid, kCudaThreads, kBytes, stream>>>(args);
  return cudaGetLastError();
}

template <class T, int D>
cudaError_t launch_dim(const KernelArgs& args, cudaStream_t stream) {
  return args.call.score.softcap > 0 ? launch_kernel<T, D, true>(args, stream)
                                     : launch_kernel<T, D, false>(args, stream);
}

template <class T>
std::int64_t shared_bytes(std::int64_t dim) {
  if (dim <= 64) return Layout<T, 64>::kBytes;
  if (dim <= 96) return Layout<T, 96>::kBytes;
  if (dim <= 128) return Layout<T, 128>::kBytes;
  if constexpr (sizeof(T) == 2) return dim <= 256 ? Layout<T, 256>::kBytes : 0;
  return 0;
}

template <class T>
cudaError_t launch_element(const KernelArgs& args, cudaStream_t stream) {
  const std::int64_t dim = args.call.dim;
  if (dim <= 64) return launch_dim<T, 64>(args, stream);
  if (dim <= 96) return launch_dim<T, 96>(args, stream);
  if (dim <= 128) return launch_dim<T, 128>(args, stream);
  if constexpr (sizeof(T) == 2) return launch_dim<T, 256>(args, stream);
  return cudaErrorInvalidValue;
}

}  // namespace

std::int64_t largest_cuda_dim(CudaElement element) { return element == CudaElement::f32 ? 128 : 256; }

std::int64_t fused_statistics_shared_bytes(CudaElement element, std::int64_t dim) {
  return element == CudaElement::f32 ? shared_bytes<float>(dim) : shared_bytes<__half>(dim);
}

std::int64_t fused_statistics_scratch(const FusedStatisticsArgs& args) {
  return args.batch * args.heads * args.queries * (2 + kCudaPartials * args.parts);
}

cudaError_t launch_fused_statistics(const FusedStatisticsArgs& args, cudaStream_t stream) {
  const std::int64_t rows = args.batch * args.heads * args.queries;
  if (rows == 0 || args.keys == 0) return cudaSuccess;
  const std::int64_t alignment = args.element == CudaElement::f32 ? 4 : 8;
  if (args.dim <= 0 || args.dim > largest_cuda_dim(args.element) || args.dim % alignment != 0 || args.parts <= 0 ||
      args.kv_heads <= 0 || args.heads % args.kv_heads != 0)
    return cudaErrorInvalidValue;
  constexpr double kLog2E = 1.4426950408889634;
  const bool capped = args.score.softcap > 0;
  KernelArgs kernel{args,
                    reinterpret_cast<float2*>(args.scratch),
                    args.scratch + 2 * rows,
                    0,
                    1,
                    capped ? args.score.softcap : args.score.scale,
                    1 / kLog2E};
  kernel.scale = static_cast<float>(kernel.natural * kLog2E);
  if (std::fabs(kernel.scale) < 1e-30F) kernel.scale = 0;  // all logits are taken as 0
  // From the rounded scale, so that its rounding is relative to t and does not grow with the logit.
  if (kernel.scale != 0) kernel.unit = kernel.natural / static_cast<double>(kernel.scale);
  if (capped) kernel.cap_scale = static_cast<float>(args.score.scale / args.score.softcap);
  constexpr int kRowThreads = 256;
  prepare_rows<<<bounded_grid(divide_up(rows, kRowThreads)), kRowThreads, 0, stream>>>(kernel);
  cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) return status;
  if (args.element == CudaElement::f32)
    status = launch_element<float>(kernel, stream);
  else if (args.element == CudaElement::bf16)
    status = launch_element<__nv_bfloat16>(kernel, stream);
  else
    status = launch_element<__half>(kernel, stream);
  if (status != cudaSuccess) return status;
  finish_rows<<<bounded_grid(divide_up(rows, kRowThreads)), kRowThreads, 0, stream>>>(kernel);
  return cudaGetLastError();
}

}  // namespace sinkscope
