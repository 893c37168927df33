#pragma once
// Norms, largest elements and the exact lower median of one sequence of a stream, from raw memory: the CPU side of
// stream_statistics.h. Scans of parts of a sequence merge.

#include <cstdint>
#include <vector>

#include "kernels/tile_kernels.h"

namespace sinkscope {

/// Rows [T, d] of one sequence.
struct StreamRows {
  const void* data;
  Element element;
  std::int64_t stride;  ///< elements from one position to the next
  std::int64_t dim;

  const void* row(std::int64_t position) const;
  float value(std::int64_t index) const;  ///< of element position * dim + dimension
};

struct Extreme {
  std::int64_t index;
  float value;
};

class StreamScan {
 public:
  /// Keeps the three largest elements, and up to `limit` of those above `magnitude`.
  StreamScan(double magnitude, std::int64_t limit) : magnitude_(magnitude), limit_(limit) {}

  /// Adds positions [begin, end) and writes their norms to norms[begin, end). With `extremes` all else too.
  void add(const StreamRows& rows, std::int64_t begin, std::int64_t end, bool extremes, float* norms);
  void merge(const StreamScan& other);

  bool finite() const { return finite_; }
  const std::vector<Extreme>& largest() const { return largest_; }  ///< largest first; equal ones by index

  /// The bucket of the element of 0-based rank `rank` by magnitude; `rank` becomes its rank within the bucket. 16-bit
  /// values: one bucket a magnitude. float32: a bucket shares the upper 16 bits.
  std::int64_t bucket_of(std::int64_t& rank) const;
  std::int64_t bucket_size(std::int64_t bucket) const { return histogram_[bucket]; }

 private:
  void offer(Extreme candidate);

  double magnitude_;
  std::int64_t limit_;
  bool finite_ = true;
  std::vector<Extreme> largest_;
  std::vector<std::uint32_t> histogram_;  // [2^15], by the upper magnitude bits; empty before the first row
};

/// The lower halves of the float32 elements of `bucket` in positions [begin, end).
std::vector<std::uint16_t> collect_bucket(const StreamRows& rows, std::int64_t begin, std::int64_t end,
                                          std::int64_t bucket);

/// Adds to counts [2^16] the lower halves of the float32 elements of `bucket` in positions [begin, end).
void count_bucket(const StreamRows& rows, std::int64_t begin, std::int64_t end, std::int64_t bucket,
                  std::uint32_t* counts);

/// The magnitude that a bucket (and for float32 the lower half of the bits) stands for.
float bucket_value(Element element, std::int64_t bucket, std::int64_t lower);

}  // namespace sinkscope
