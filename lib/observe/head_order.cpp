#include "observe/head_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace sinkscope {
namespace {

/// The dim that grows with the number of sequences is theirs.
bool second_grows(const LeadingDims& a, const LeadingDims& b) {
  const auto grows = [&](std::int64_t x, std::int64_t y) { return x * b.sequences == y * a.sequences; };
  const bool batch_first = grows(a.first, b.first) && a.second == b.second;
  const bool heads_first = grows(a.second, b.second) && a.first == b.first;
  if (batch_first == heads_first)
    throw InputError(fmt::format(
        "its matrix has leading dims {} x {} for {} sequences and {} x {} for {}: which of them counts heads "
        "cannot be told. Choose a --batch that is not the number of heads.",
        a.first, a.second, a.sequences, b.first, b.second, b.sequences));
  return heads_first;
}

std::int64_t key_of(SiteId site) { return static_cast<std::int64_t>(index(site)); }

}  // namespace

void HeadOrders::begin_run(std::optional<std::int64_t> alone) {
  alone_ = alone;
  seen_.clear();
}

bool HeadOrders::heads_first(SiteId site, const LeadingDims& dims, std::optional<bool> shown, bool guess) {
  Order& order = orders_[key_of(site)];
  if (order.heads_first) return *order.heads_first;
  if (order.open && order.open->sequences != dims.sequences) shown = second_grows(*order.open, dims);
  if (shown) {
    mistaken_ = mistaken_ || (order.open && order.guess != *shown);
    order.heads_first = shown;
    return *shown;
  }
  if (!order.open) order.open = dims, order.guess = guess;
  return order.guess;
}

bool HeadOrders::is_open(SiteId site) const {
  const auto order = orders_.find(key_of(site));
  return order != orders_.end() && order->second.open && !order->second.heads_first;
}

bool HeadOrders::sequences_inner(SiteId site, const at::Tensor& x, std::int64_t sequences) {
  MergedOrder& order = merged_[key_of(site)];
  if (order.sequences_inner()) return *order.sequences_inner();
  if (!seen_.insert(key_of(site)).second) return false;
  if (!alone_) {
    if (sequences > 1) order.keep(x, sequences);
  } else if (sequences == 1) {
    order.compare(x, *alone_);
    mistaken_ = mistaken_ || order.sequences_inner().value_or(false);
  }
  return order.sequences_inner().value_or(false);
}

bool HeadOrders::open() const {
  return std::any_of(orders_.begin(), orders_.end(),
                     [](const auto& entry) { return entry.second.open && !entry.second.heads_first; }) ||
         std::any_of(merged_.begin(), merged_.end(), [](const auto& entry) { return entry.second.open(); });
}

void HeadOrders::settle() {
  for (auto& [site, order] : merged_) order.settle();
}

bool HeadOrders::take_mistaken() { return std::exchange(mistaken_, false); }

}  // namespace sinkscope
