#include "measure/mask_cache.h"

#include <ATen/ops/equal.h>

#include <algorithm>

namespace sinkscope {
namespace {

constexpr std::size_t kCachedMasks = 4;  // a full and a windowed mask, measured and unselected sites

std::uint32_t version_of(const at::Tensor& mask) {
  return mask.is_inference() ? 0 : static_cast<std::uint32_t>(mask._version());
}

bool is_same_tensor(const at::Tensor& a, const at::Tensor& b) {
  return a.const_data_ptr() == b.const_data_ptr() && a.sizes() == b.sizes() && a.strides() == b.strides() &&
         a.scalar_type() == b.scalar_type();
}

bool has_same_values(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && a.device() == b.device() && at::equal(a, b);
}

/// Only the cache holds it: the model has built it for one layer and is done with it.
bool is_abandoned(const at::Tensor& mask) { return mask.use_count() == 1 && mask.storage().use_count() == 1; }

}  // namespace

const RecognisedMask& MaskCache::recognise(const at::Tensor& mask, const ScoreFunction& score, std::int64_t queries,
                                           std::int64_t keys, std::int64_t first_keys) {
  const std::uint32_t version = version_of(mask);
  entries_.remove_if([](const Entry& entry) { return version_of(entry.mask) != entry.version; });
  const auto find = [&](auto same) {
    return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.queries == queries && entry.keys == keys && entry.first_keys == first_keys &&
             entry.score.hides_the_same(score) && same(entry.mask, mask);
    });
  };
  auto found = find(is_same_tensor);
  if (found == entries_.end()) found = find(has_same_values);
  if (found == entries_.end()) {
    entries_.push_front(
        {mask, version, score, queries, keys, first_keys, recognise_mask(mask, queries, keys, first_keys, score)});
  } else {
    found->mask = mask, found->version = version;  // the newer one lives longer
    entries_.splice(entries_.begin(), entries_, found);
  }
  drop_unneeded();
  return entries_.front().recognised;
}

/// Of masks that nobody else holds only the last is worth its memory: a layer may build it again.
void MaskCache::drop_unneeded() {
  bool kept = false;
  for (auto entry = std::next(entries_.begin()); entry != entries_.end();) {
    const bool drop = is_abandoned(entry->mask) && std::exchange(kept, true);
    entry = drop ? entries_.erase(entry) : std::next(entry);
  }
  if (entries_.size() > kCachedMasks) entries_.pop_back();
}

}  // namespace sinkscope
