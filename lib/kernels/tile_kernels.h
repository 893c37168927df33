#pragma once
// The inner loops of the fused pass, free of torch and compiled for several instruction sets; the one to run is picked
// at run time (tile_kernels.cpp). A strip is a run of `strip_rows()` queries, held transposed so that one query is one
// vector lane: row statistics then need no horizontal sums.

#include <cstdint>
#include <string_view>
#include <vector>

namespace sinkscope {

enum class Element { f32, bf16, f16 };

/// Largest value of strip_rows() and of column_lanes(), for buffers.
inline constexpr std::int64_t kMaxStripRows = 64;
inline constexpr std::int64_t kMaxColumnLanes = 16;

/// Queries in a strip: 4 vectors with AVX-512, 2 elsewhere.
std::int64_t strip_rows();
/// Partial column sums kept a key.
std::int64_t column_lanes();
/// Name of the instruction set in use, such as "AVX3".
const char* instruction_set();

/// to[i] = from[i] as float32; exact.
void widen(const void* from, Element element, std::int64_t count, float* to);

/// Transposes `count` <= strip_rows() queries [count, dim], `stride` elements apart, to panel [dim, strip_rows()], zero
/// beyond `count`.
void pack_strip(const void* rows, Element element, std::int64_t stride, std::int64_t count, std::int64_t dim,
                float* panel);

/// out[j, r] = key_j . query_r in float32.
///   keys [count, dim], `stride` apart; panel [dim, strip_rows()]; out [count, strip_rows()]
void strip_products(const float* keys, std::int64_t stride, std::int64_t count, std::int64_t dim, const float* panel,
                    float* out);

/// From products to t = log2 A: t = (x - centre) * scale + shift per row, where x is the product, or tanh(product *
/// cap_scale) where softcap. Subtracting first keeps the rounding of t small where logits are large, with or without
/// fused multiply-add.
struct StripScore {
  float scale = 1, cap_scale = 1;
  bool softcap = false;
};

/// Row sums of one strip, each [strip_rows()], all compensated (value plus a correction of lower order).
struct StripRows {
  const float *centre, *shift;  ///< the log-sum-exp in units of x, and in units of t what rounding `centre` left over
  float* max;                   ///< largest t
  float *sum, *sum_rest;        ///< sum of A
  float *weighted, *weighted_rest;  ///< sum of A * t, so that the entropy is -ln 2 times it
};

/// Which keys of a tile a strip may see; null pointers: all.
struct StripMask {
  const std::int32_t *first = nullptr,
                     *last = nullptr;         ///< [strip_rows()]: row r sees keys first[r] <= j <= last[r] of the tile
  const std::uint8_t* key_visible = nullptr;  ///< [count]: 0 hides a key from every row
};

/// Adds the statistics of one tile of `count` keys to `rows` and to `columns` [count, column_lanes()].
///   products  [count, stride], the strip's rows first
/// A NaN product of a visible pair makes its row and column NaN.
void strip_statistics(const StripScore& score, const float* products, std::int64_t stride, std::int64_t count,
                      const StripMask& mask, const StripRows& rows, float* columns);

/// Running sums of one strip, each [strip_rows()]: the keys so far have (sum + sum_rest) times the exp of the largest
/// logit.
struct StripExpSums {
  float* top;             ///< largest x, times the sign of the scale; -inf where no key was seen
  float *sum, *sum_rest;  ///< sum of exp(logit - largest logit), compensated; exactly 0 where no key was seen
};

/// Adds one tile of `count` keys to `rows`; operands as in strip_statistics. `products` is overwritten. A NaN product
/// of a visible pair makes the sum of its row NaN.
void strip_exp_sums(const StripScore& score, float* products, std::int64_t stride, std::int64_t count,
                    const StripMask& mask, const StripExpSums& rows);

/// total[j] += sum of columns[j, :].
void add_columns(const float* columns, std::int64_t count, double* total);

/// out[i] = 2^x[i], the exponential of the pass, for tests: relative error below 2.5e-7 for x in [-126, 127], never
/// below 2^-126.
void exp2_values(const float* x, std::int64_t count, float* out);
/// out[i] = tanh(x[i]), that of the soft cap: relative error below 5e-7.
void tanh_values(const float* x, std::int64_t count, float* out);

/// Names of the instruction sets that this processor can run, best first. `restrict_instruction_set` makes one of them
/// the one in use (empty: the best). For tests, which run on all of them; not thread-safe.
std::vector<std::string_view> instruction_sets();
void restrict_instruction_set(std::string_view name);

}  // namespace sinkscope
