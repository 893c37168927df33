#include "kernels/stream_statistics.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "kernels/stream_scan.h"
#include "kernels/tile_product.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kLongStream = std::int64_t{1} << 20;  // elements from which a plain median takes too long
constexpr std::int64_t kBuckets = std::int64_t{1} << 15;     // upper halves of the magnitudes of float32
constexpr int kInfinityBits = 0x7f800000;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// `x` [B, n] widened to [B, width] with `filler`.
at::Tensor padded(const at::Tensor& x, std::int64_t width, at::Scalar filler) {
  at::Tensor wide = at::full({x.size(0), width}, filler, x.options());
  wide.narrow(1, 0, x.size(1)).copy_(x);
  return wide;
}

/// How often each value 0 .. size - 1 occurs in `x` [n] (int32; others are not counted): [size] float64.
at::Tensor counts_of(const at::Tensor& x, std::int64_t size) {
  constexpr std::int64_t kBlock = std::int64_t{1} << 24;  // float32 counts are exact up to here
  at::Tensor counts = at::zeros({size}, x.options().dtype(at::kDouble));
  for (std::int64_t begin = 0; begin < x.size(0); begin += kBlock)
    counts += at::histc(x.narrow(0, begin, std::min(kBlock, x.size(0) - begin)).to(at::kFloat), size, -0.5,
                        static_cast<double>(size) - 0.5);
  return counts;
}

/// Index [1] of the bin that holds the element of 0-based `rank` [1]; `rank` becomes that within the bin.
at::Tensor bin_of(const at::Tensor& counts, at::Tensor& rank) {
  const at::Tensor upto = counts.cumsum(0);
  const at::Tensor bin = at::searchsorted(upto, rank, /*out_int32=*/false, /*right=*/true);
  rank = rank - (upto - counts).gather(0, bin);
  return bin;
}

}  // namespace

// By two histograms of the halves of the bits: no sort, and nothing comes back from a GPU.
at::Tensor lower_medians(const at::Tensor& magnitude) {
  const at::Tensor bits = magnitude.to(at::kFloat).view(at::kInt);
  std::vector<at::Tensor> medians;
  for (std::int64_t b = 0; b < bits.size(0); ++b) {
    const at::Tensor row = bits[b], upper = row.bitwise_right_shift(16);
    at::Tensor rank = at::full({1}, static_cast<double>((row.size(0) - 1) / 2), row.options().dtype(at::kDouble));
    const at::Tensor high = bin_of(counts_of(upper, kBuckets), rank).to(at::kInt);
    const at::Tensor lower = at::where(upper == high, row.bitwise_and(0xffff), at::full({}, -1, row.options()));
    const at::Tensor low = bin_of(counts_of(lower, 2 * kBuckets), rank).to(at::kInt);
    const at::Tensor median = high.bitwise_left_shift(16).bitwise_or(low).view(at::kFloat).to(at::kDouble);
    // NaN and infinity stand behind every number, as for the plain median; a NaN anywhere makes it NaN.
    medians.push_back(at::where(row.amax() > kInfinityBits, at::full({}, kNan, median.options()), median));
  }
  return at::cat(medians);
}

namespace {

void add_extremes(const at::Tensor& stream, const StreamRequest& request, StreamStatistics& result) {
  const at::Tensor flat = stream.flatten(1), magnitude = flat.abs();
  const std::int64_t count = flat.size(1);
  const auto options = flat.options().dtype(at::kDouble);
  result.median = count == 0 ? at::full({flat.size(0)}, kNan, options)
                  : count < kLongStream || flat.scalar_type() == at::kDouble
                      ? std::get<0>(magnitude.median(1)).to(at::kDouble)
                      : lower_medians(magnitude);
  const std::int64_t listed = std::min(count, kMassiveLimit);
  const at::Tensor index = std::get<1>(magnitude.topk(listed, 1));
  const at::Tensor value = flat.gather(1, index).to(at::kDouble);
  const std::int64_t top = std::min<std::int64_t>(3, count);
  result.top_value = padded(value.narrow(1, 0, top), 3, kNan);
  result.top_index = padded(index.narrow(1, 0, top), 3, -1);
  const at::Tensor size = value.abs();
  const at::Tensor massive =
      (size > request.massive_magnitude).logical_and(size >= result.median.unsqueeze(1) * request.massive_ratio);
  result.massive_value = padded(at::where(massive, value, kNan), kMassiveLimit, kNan);
  result.massive_index = padded(at::where(massive, index, -1), kMassiveLimit, -1);
}

StreamStatistics stream_statistics_aten(const at::Tensor& stream, const StreamRequest& request) {
  StreamStatistics result{.norm = at::linalg_vector_norm(stream, 2, -1, false, at::kDouble).to(at::kFloat),
                          .finite = stream.isfinite().flatten(1).all(1)};
  if (request.extremes) add_extremes(stream, request, result);
  return result;
}

/// Exact lower median of the magnitudes of `positions` rows; `shares` threads where more than one.
double median_of(const StreamScan& scan, const StreamRows& rows, std::int64_t positions, std::int64_t shares) {
  std::int64_t rank = (positions * rows.dim - 1) / 2;
  const std::int64_t bucket = scan.bucket_of(rank);
  if (rows.element != Element::f32) return bucket_value(rows.element, bucket, 0);
  constexpr std::int64_t kLower = 1 << 16;
  if (shares == 1 &&
      scan.bucket_size(bucket) < kLower) {  // a table of all lower halves would take longer than a short sequence
    std::vector<std::uint16_t> found = collect_bucket(rows, 0, positions, bucket);
    std::nth_element(found.begin(), found.begin() + rank, found.end());
    return bucket_value(rows.element, bucket, found[rank]);
  }
  std::vector<std::uint32_t> counts(shares * kLower);
  at::parallel_for(0, shares, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      count_bucket(rows, positions * i / shares, positions * (i + 1) / shares, bucket, counts.data() + i * kLower);
  });
  for (std::int64_t lower = 0; lower < kLower; ++lower)
    for (std::int64_t i = 0; i < shares; ++i) {
      if (rank < counts[i * kLower + lower]) return bucket_value(rows.element, bucket, lower);
      rank -= counts[i * kLower + lower];
    }
  return kNan;
}

/// Empty results of the CPU pass, to be filled sequence by sequence.
StreamStatistics prepare(std::int64_t batch, std::int64_t positions, const StreamRequest& request) {
  StreamStatistics result{.norm = at::empty({batch, positions}, at::kFloat), .finite = at::empty({batch}, at::kBool)};
  if (!request.extremes) return result;
  result.top_value = at::full({batch, 3}, kNan, at::kDouble);
  result.top_index = at::full({batch, 3}, -1, at::kLong);
  result.median = at::full({batch}, kNan, at::kDouble);
  result.massive_value = at::full({batch, kMassiveLimit}, kNan, at::kDouble);
  result.massive_index = at::full({batch, kMassiveLimit}, -1, at::kLong);
  return result;
}

/// Scans sequence `b` with `shares` threads and writes its results.
void scan_sequence(const StreamRows& rows, std::int64_t positions, std::int64_t b, std::int64_t shares,
                   const StreamRequest& request, const StreamStatistics& result) {
  std::vector<StreamScan> scans(shares, StreamScan(request.massive_magnitude, kMassiveLimit));
  float* norms = result.norm.mutable_data_ptr<float>() + b * positions;
  at::parallel_for(0, shares, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      scans[i].add(rows, positions * i / shares, positions * (i + 1) / shares, request.extremes, norms);
  });
  StreamScan& scan = scans[0];
  for (std::int64_t i = 1; i < shares; ++i) scan.merge(scans[i]);
  result.finite.mutable_data_ptr<bool>()[b] = scan.finite();
  if (!request.extremes || positions * rows.dim == 0) return;
  const double median = scan.finite() ? median_of(scan, rows, positions, shares) : kNan;
  result.median.mutable_data_ptr<double>()[b] = median;
  std::int64_t top = 0, massive = 0;
  for (const Extreme& extreme : scan.largest()) {
    if (top < 3) {
      result.top_value.mutable_data_ptr<double>()[b * 3 + top] = extreme.value;
      result.top_index.mutable_data_ptr<std::int64_t>()[b * 3 + top++] = extreme.index;
    }
    const double size = std::abs(extreme.value);
    if (size > request.massive_magnitude && size >= request.massive_ratio * median) {
      result.massive_value.mutable_data_ptr<double>()[b * kMassiveLimit + massive] = extreme.value;
      result.massive_index.mutable_data_ptr<std::int64_t>()[b * kMassiveLimit + massive++] = extreme.index;
    }
  }
}

StreamStatistics stream_statistics_cpu(const at::Tensor& stream, const StreamRequest& request) {
  const at::Tensor dense = stream.stride(2) == 1 || stream.size(2) == 1 ? stream : stream.contiguous();
  const std::int64_t batch = dense.size(0), positions = dense.size(1);
  const StreamStatistics result = prepare(batch, positions, request);
  const auto rows = [&](std::int64_t b) {
    const char* data = static_cast<const char*>(dense.const_data_ptr());
    return StreamRows{data + b * dense.stride(0) * static_cast<std::int64_t>(dense.element_size()),
                      element_of(dense.scalar_type()), dense.stride(1), dense.size(2)};
  };
  const std::int64_t threads = at::get_num_threads();
  if (batch >= threads) {  // a sequence a thread; parallel_for inside it then runs serially
    at::parallel_for(0, batch, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) scan_sequence(rows(b), positions, b, 1, request, result);
    });
    return result;
  }
  const std::int64_t shares = std::clamp<std::int64_t>(positions, 1, threads);
  for (std::int64_t b = 0; b < batch; ++b) scan_sequence(rows(b), positions, b, shares, request, result);
  return result;
}

}  // namespace

StreamStatistics stream_statistics(const at::Tensor& stream, const StreamRequest& request) {
  if (stream.dim() != 3 || !stream.is_floating_point()) {
    std::ostringstream text;
    text << "a stream must be a floating tensor [batch, tokens, width], not " << stream.scalar_type() << " "
         << stream.sizes();
    throw InputError(text.str());
  }
  return stream.is_cpu() && has_element(stream.scalar_type()) ? stream_statistics_cpu(stream, request)
                                                              : stream_statistics_aten(stream, request);
}

}  // namespace sinkscope
