#include "kernels/tile_walk.h"

#include <numbers>

namespace sinkscope {
namespace {

at::Tensor with_contiguous_rows(const at::Tensor& x) { return x.stride(3) == 1 || x.size(3) == 1 ? x : x.contiguous(); }

const char* element_at(const at::Tensor& x, std::int64_t offset) {
  return static_cast<const char*>(x.const_data_ptr()) + offset * static_cast<std::int64_t>(x.element_size());
}

}  // namespace

TileOperands tile_operands(const AttentionCall& call, const CallSizes& sizes) {
  TileOperands operands{.sizes = sizes,
                        .score = call.score,
                        .query = with_contiguous_rows(call.query),
                        .key = with_contiguous_rows(call.key)};
  if (call.key_padding) operands.padding = call.key_padding->to(at::kBool).contiguous();
  const bool capped = call.score.softcap > 0;
  operands.natural = capped ? call.score.softcap : call.score.scale;
  operands.strip_score = {.scale = static_cast<float>(operands.natural * std::numbers::log2e),
                          .cap_scale = capped ? static_cast<float>(call.score.scale / call.score.softcap) : 1.0F,
                          .softcap = capped};
  return operands;
}

TileWalk::TileWalk(const TileOperands& operands)
    : operands_(operands),
      strip_(strip_rows()),
      product_(operands.query.scalar_type(), operands.sizes.dim, kTileRows, kTileKeys),
      products_(kTileKeys * strip_),
      first_(strip_),
      last_(strip_) {}

void TileWalk::begin_tile(std::int64_t batch_head, std::int64_t row, std::int64_t rows) {
  const std::int64_t batch = batch_head / operands_.sizes.heads, head = batch_head % operands_.sizes.heads;
  const at::Tensor& query = operands_.query;
  product_.set_queries(element_at(query, batch * query.stride(0) + head * query.stride(1) + row * query.stride(2)),
                       query.stride(2), rows);
  visible_ =
      operands_.padding.defined() ? operands_.padding.const_data_ptr<bool>() + batch * operands_.sizes.keys : nullptr;
}

void TileWalk::set_keys(std::int64_t batch_head, std::int64_t key, std::int64_t keys) {
  const std::int64_t batch = batch_head / operands_.sizes.heads,
                     kv_head = batch_head % operands_.sizes.heads / operands_.sizes.group();
  const at::Tensor& x = operands_.key;
  product_.set_keys(element_at(x, batch * x.stride(0) + kv_head * x.stride(1) + key * x.stride(2)), x.stride(2), keys);
}

TileWalk::Seen TileWalk::multiply(std::int64_t row, std::int64_t strip, std::int64_t rows, std::int64_t key,
                                  std::int64_t keys) {
  const std::int64_t all_keys = operands_.sizes.keys;
  const KeyRange range = key_range(operands_.score, row, rows, all_keys);
  Seen seen{.begin = std::max(key, range.first), .end = std::min(key + keys, range.end), .mask = {}};
  if (seen.begin >= seen.end) return seen;
  product_.multiply(strip, seen.begin - key, seen.end - seen.begin, products_.data());
  if (visible_ != nullptr) seen.mask.key_visible = reinterpret_cast<const std::uint8_t*>(visible_ + seen.begin);
  if (rows == strip_ && seen.begin >= range.inner_first && seen.end <= range.inner_end) return seen;
  for (std::int64_t i = 0; i < strip_; ++i) {
    const std::int64_t query = row + i, none = seen.end - seen.begin;
    const std::int64_t first = i < rows ? operands_.score.first_key(query) - seen.begin : none;
    const std::int64_t last = i < rows ? operands_.score.end_key(query, all_keys) - 1 - seen.begin : -1;
    first_[i] = static_cast<std::int32_t>(std::clamp<std::int64_t>(first, 0, none));
    last_[i] = static_cast<std::int32_t>(std::clamp<std::int64_t>(last, -1, none));
  }
  seen.mask.first = first_.data();
  seen.mask.last = last_.data();
  return seen;
}

}  // namespace sinkscope
