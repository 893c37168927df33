#include "kernels/stream_scan.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/scan_kernels.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kBuckets = 1 << 15;

bool larger(const Extreme& a, const Extreme& b) {
  const float x = std::abs(a.value), y = std::abs(b.value);
  return x != y ? x > y : a.index < b.index;
}

void count_magnitudes(const void* row, Element element, std::int64_t count, std::uint32_t* histogram) {
  if (element == Element::f32) {
    const auto* bits = static_cast<const std::uint32_t*>(row);
    for (std::int64_t i = 0; i < count; ++i) ++histogram[bits[i] >> 16 & 0x7fffU];
  } else {
    const auto* bits = static_cast<const std::uint16_t*>(row);
    for (std::int64_t i = 0; i < count; ++i) ++histogram[bits[i] & 0x7fffU];
  }
}

template <class Use>
void for_each_lower_half(const StreamRows& rows, std::int64_t begin, std::int64_t end, std::int64_t bucket, Use&& use) {
  std::vector<std::uint32_t> halves(static_cast<std::size_t>(rows.dim + kMaxColumnLanes));
  for (std::int64_t position = begin; position < end; ++position) {
    const std::int64_t found = lower_halves(static_cast<const std::uint32_t*>(rows.row(position)), rows.dim,
                                            static_cast<std::uint32_t>(bucket), halves.data());
    for (std::int64_t i = 0; i < found; ++i) use(halves[static_cast<std::size_t>(i)]);
  }
}

}  // namespace

const void* StreamRows::row(std::int64_t position) const {
  return static_cast<const char*>(data) + position * stride * (element == Element::f32 ? 4 : 2);
}

float StreamRows::value(std::int64_t index) const {
  const void* start = row(index / dim);
  float result = 0;
  widen(static_cast<const char*>(start) + index % dim * (element == Element::f32 ? 4 : 2), element, 1, &result);
  return result;
}

void StreamScan::add(const StreamRows& rows, std::int64_t begin, std::int64_t end, bool extremes, float* norms) {
  if (extremes && histogram_.empty()) histogram_.resize(kBuckets);
  std::vector<float> wide(extremes ? rows.dim : 0);
  for (std::int64_t position = begin; position < end; ++position) {
    const void* row = rows.row(position);
    const RowScan scan = scan_row(row, rows.element, rows.dim);
    norms[position] = static_cast<float>(std::sqrt(scan.squares));
    finite_ = finite_ && std::isfinite(scan.squares);
    if (!extremes) continue;
    count_magnitudes(row, rows.element, rows.dim, histogram_.data());
    const auto listed = static_cast<std::int64_t>(largest_.size());
    const bool enters =
        listed < 3 || scan.largest > std::abs(largest_[2].value) ||
        (scan.largest > magnitude_ && (listed < limit_ || scan.largest > std::abs(largest_.back().value)));
    if (!enters) continue;  // nearly always: the elements are looked at one by one only where one of them counts
    widen(row, rows.element, rows.dim, wide.data());
    for (std::int64_t i = 0; i < rows.dim; ++i) offer({position * rows.dim + i, wide[i]});
  }
}

void StreamScan::offer(Extreme candidate) {
  const bool massive = std::abs(candidate.value) > magnitude_;
  const auto listed = static_cast<std::int64_t>(largest_.size());
  if (listed >= 3 && !larger(candidate, massive && listed >= limit_ ? largest_.back() : largest_[2]) &&
      !(massive && listed < limit_))
    return;
  largest_.insert(std::upper_bound(largest_.begin(), largest_.end(), candidate, larger), candidate);
  // What is neither among the first three nor above the threshold has been pushed out.
  while (largest_.size() > 3 &&
         (static_cast<std::int64_t>(largest_.size()) > limit_ || std::abs(largest_.back().value) <= magnitude_))
    largest_.pop_back();
}

void StreamScan::merge(const StreamScan& other) {
  finite_ = finite_ && other.finite_;
  for (const Extreme& extreme : other.largest_) offer(extreme);
  if (histogram_.empty()) histogram_.resize(other.histogram_.size());
  for (std::size_t i = 0; i < other.histogram_.size(); ++i) histogram_[i] += other.histogram_[i];
}

std::int64_t StreamScan::bucket_of(std::int64_t& rank) const {
  std::int64_t bucket = 0;
  while (bucket < kBuckets - 1 && rank >= histogram_[bucket]) rank -= histogram_[bucket++];
  return bucket;
}

std::vector<std::uint16_t> collect_bucket(const StreamRows& rows, std::int64_t begin, std::int64_t end,
                                          std::int64_t bucket) {
  std::vector<std::uint16_t> found;
  for_each_lower_half(rows, begin, end, bucket,
                      [&](std::uint32_t half) { found.push_back(static_cast<std::uint16_t>(half)); });
  return found;
}

void count_bucket(const StreamRows& rows, std::int64_t begin, std::int64_t end, std::int64_t bucket,
                  std::uint32_t* counts) {
  for_each_lower_half(rows, begin, end, bucket, [&](std::uint32_t half) { ++counts[half]; });
}

float bucket_value(Element element, std::int64_t bucket, std::int64_t lower) {
  if (element != Element::f16)
    return std::bit_cast<float>(static_cast<std::uint32_t>(bucket << 16) |
                                static_cast<std::uint32_t>(element == Element::f32 ? lower : 0));
  const auto bits = static_cast<std::uint16_t>(bucket);
  float value = 0;
  widen(&bits, element, 1, &value);
  return value;
}

}  // namespace sinkscope
