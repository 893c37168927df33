#include "metric/visibility.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <utility>

namespace sinkscope {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

void require_size(bool ok) {
  if (!ok) throw std::invalid_argument("Visibility: a negative size, a width below 1, or arrays of the wrong length");
}

}  // namespace

const char* name_of(MaskKind kind) {
  switch (kind) {
    case MaskKind::none:
      return "none";
    case MaskKind::causal:
      return "causal";
    case MaskKind::window:
      return "window";
    case MaskKind::chunk:
      return "chunk";
    case MaskKind::padding:
      return "padding";
    case MaskKind::other:
      break;
  }
  return "other";
}

Visibility Visibility::full(std::int64_t queries, std::int64_t keys) {
  require_size(queries >= 0 && keys >= 0);
  Visibility v;
  v.queries_ = queries;
  v.keys_ = keys;
  return v;
}

Visibility Visibility::causal(std::int64_t queries, std::int64_t keys) {
  Visibility v = full(queries, keys);
  v.kind_ = MaskKind::causal;
  v.causal_ = true;
  return v;
}

Visibility Visibility::window(std::int64_t length, std::int64_t width) {
  require_size(width >= 1);
  Visibility v = causal(length, length);
  v.kind_ = MaskKind::window;
  v.width_ = width;
  return v;
}

Visibility Visibility::chunk(std::int64_t length, std::int64_t width) {
  Visibility v = window(length, width);
  v.kind_ = MaskKind::chunk;
  return v;
}

Visibility Visibility::other(MaskKind kind, std::int64_t keys, bool causal, std::vector<std::int64_t> visible,
                             std::int64_t first_keys, std::vector<std::uint8_t> first_keys_seen, ExtraKeys extra) {
  require_size(first_keys >= 0 && first_keys_seen.size() == visible.size() * static_cast<std::size_t>(first_keys));
  Visibility v = full(static_cast<std::int64_t>(visible.size()), keys);
  v.kind_ = kind;
  v.causal_ = causal;
  v.first_keys_ = first_keys;
  v.extra_ = extra;
  v.visible_ = std::move(visible);
  v.first_keys_seen_ = std::move(first_keys_seen);
  return v;
}

std::int64_t Visibility::visible(std::int64_t i) const {
  switch (kind_) {
    case MaskKind::none:
      return keys_;
    case MaskKind::causal:
      return std::min(i + 1, keys_);
    case MaskKind::window:
      return std::min(i + 1, width_);
    case MaskKind::chunk:
      return i % width_ + 1;
    case MaskKind::padding:
    case MaskKind::other:
      break;
  }
  return visible_.at(static_cast<std::size_t>(i));
}

bool Visibility::sees(std::int64_t i, std::int64_t k) const {
  if (k < 0 || k >= keys_) return false;
  switch (kind_) {
    case MaskKind::none:
      return true;
    case MaskKind::causal:
      return k <= i;
    case MaskKind::window:
      return k <= i && k > i - width_;
    case MaskKind::chunk:
      return k <= i && k >= i - i % width_;
    case MaskKind::padding:
    case MaskKind::other:
      break;
  }
  if (k >= first_keys_) throw std::out_of_range("Visibility: this mask is only known for the first keys");
  return first_keys_seen_.at(static_cast<std::size_t>(i * first_keys_ + k)) != 0;
}

std::int64_t Visibility::first_row(std::int64_t k) const {
  const bool extra = k < extra_.before || (k >= keys_ - extra_.behind && k < keys_);
  if (!causal_ || extra) return 0;
  return std::min(k - extra_.before, queries_);
}

std::int64_t Visibility::alpha_rows(std::int64_t k) const { return queries_in(first_row(k), queries_); }

std::int64_t Visibility::queries_in(std::int64_t begin, std::int64_t end) const {
  if (visible_.empty()) return keys_ > 0 ? end - begin : 0;
  return std::count_if(visible_.begin() + begin, visible_.begin() + end, [](std::int64_t seen) { return seen > 0; });
}

double Visibility::uniform_column(std::int64_t k, std::int64_t begin, std::int64_t end) const {
  if (k >= keys_) return 0;
  const bool listed = kind_ == MaskKind::padding || kind_ == MaskKind::other;
  if (listed && k >= first_keys_) return kUndefined;
  begin = std::max(begin, first_row(k));
  end = std::min(end, queries_);
  // A window or chunk of 4096 in a text of 128k: only the rows near the key matter.
  if (kind_ == MaskKind::window || kind_ == MaskKind::chunk) end = std::min(end, k + width_);
  double sum = 0;
  for (std::int64_t i = begin; i < end; ++i)
    if (sees(i, k)) sum += 1.0 / static_cast<double>(visible(i));
  return sum;
}

double Visibility::uniform_entropy() const {
  double sum = 0;
  std::int64_t queries = 0;
  for (std::int64_t i = 0; i < queries_; ++i) {
    const std::int64_t seen = visible(i);
    if (seen == 0) continue;
    sum += std::log(static_cast<double>(seen));
    ++queries;
  }
  return queries > 0 ? sum / static_cast<double>(queries) : kUndefined;
}

}  // namespace sinkscope
