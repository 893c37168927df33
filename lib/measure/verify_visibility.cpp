#include "measure/verify_visibility.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <vector>

namespace sinkscope {

at::Tensor count_visible(const AttentionCall& call) {
  constexpr std::int64_t kRows = 256;
  const std::int64_t queries = call.query.size(2), keys = call.key.size(2);
  at::Tensor mask = call.mask ? *call.mask : at::ones({1, 1}, at::TensorOptions(at::kBool).device(call.query.device()));
  while (mask.dim() < 4) mask = mask.unsqueeze(0);
  mask = mask.expand({mask.size(0), mask.size(1), queries, keys});
  const at::Tensor j = at::arange(keys, at::TensorOptions(at::kLong).device(mask.device()));
  std::vector<at::Tensor> counts;
  for (std::int64_t begin = 0; begin < queries; begin += kRows) {
    const std::int64_t end = std::min(queries, begin + kRows);
    const at::Tensor rows = mask.narrow(2, begin, end - begin);
    const at::Tensor visible = rows.scalar_type() == at::kBool ? rows : rows > kMaskedBelow;
    std::vector<std::int64_t> first_key, end_key;
    for (std::int64_t i = begin; i < end; ++i)
      first_key.push_back(call.score.first_key(i)), end_key.push_back(call.score.end_key(i, keys));
    const auto column = [&](const std::vector<std::int64_t>& x) {
      return at::tensor(x, at::kLong).to(mask.device()).unsqueeze(1);
    };
    counts.push_back(visible.logical_and(j >= column(first_key)).logical_and(j < column(end_key)).sum(-1));
  }
  return counts.empty() ? at::zeros({1, 1, 0}, at::kLong) : at::cat(counts, 2);
}

void compare_visibility(const SiteBatch& site, const at::Tensor& visible, ErrorTable& errors) {
  const at::Tensor expected = visible.cpu();
  const auto at_most = [](std::size_t i, std::int64_t size) {
    return std::min(static_cast<std::int64_t>(i), size - 1);
  };
  const auto sequences = std::max(site.visibility.size(), static_cast<std::size_t>(expected.size(0)));
  for (std::size_t b = 0; b < sequences; ++b) {
    const HeadMasks& masks = site.visibility.size() == 1 ? site.visibility.front() : site.visibility.at(b);
    for (std::size_t h = 0; h < std::max(masks.size(), static_cast<std::size_t>(expected.size(1))); ++h) {
      const Visibility& mask = masks.size() == 1 ? *masks.front() : *masks.at(h);
      std::vector<std::int64_t> got;
      for (std::int64_t i = 0; i < site.queries; ++i) got.push_back(mask.visible(i));
      errors.compare("visible_keys", at::tensor(got, at::kLong),
                     expected[at_most(b, expected.size(0))][at_most(h, expected.size(1))], ErrorUnit::absolute);
    }
  }
}

void compare_normalised_entropy(const SiteBatch& site, const at::Tensor& entropy, const at::Tensor& visible,
                                ErrorTable& errors) {
  if (!site.normalised_entropy_sum.defined() || site.queries == 0) return;
  const at::Tensor share = entropy / visible.to(at::kDouble).log();
  const at::Tensor expected = at::where(visible > 1, share, at::zeros({}, share.options())).sum(-1);
  const auto rows = static_cast<double>(site.queries);
  errors.compare("normalised_entropy", site.normalised_entropy_sum / rows, expected / rows, ErrorUnit::absolute);
}

}  // namespace sinkscope
