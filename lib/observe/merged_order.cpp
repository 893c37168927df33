#include "observe/merged_order.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace sinkscope {
namespace {

constexpr std::int64_t kRows = 16, kMixtures = 16;
// Another batch size changes sums by their rounding: readings that differ by no more are the same. Above that the right
// one must be nearer by a factor that rounding does not reach.
constexpr double kSame = 1e-5, kSame16Bit = 1e-2, kNearer = 3;

/// [N, ..., rows, columns] -> [N, ..., at most kRows, kMixtures] float32: of rows spread evenly, the last included, all
/// columns mixed by fixed factors, so that every one shows.
at::Tensor sample(const at::Tensor& x) {
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(x.device());
  const std::int64_t rows = x.size(-2);
  const at::Tensor chosen = at::linspace(0, static_cast<double>(rows - 1), std::min(rows, kRows), options).round();
  const at::Tensor column = at::arange(1, x.size(-1) + 1, options).unsqueeze(1);
  const at::Tensor factors = (column * at::arange(1, kMixtures + 1, options).mul(0.7).sqrt()).sin();
  return at::matmul(x.detach().index_select(-2, chosen.to(at::kLong)).to(at::kFloat), factors);
}

double norm_of(const at::Tensor& x) { return at::nan_to_num(x, 0, 0, 0).norm().item<double>(); }

}  // namespace

void MergedOrder::keep(const at::Tensor& x, std::int64_t sequences) {
  batch_ = sample(x), sequences_ = sequences, agreed_ = 0;
}

void MergedOrder::compare(const at::Tensor& x, std::int64_t sequence) {
  if (!open() || sequences_inner_) return;
  const std::int64_t entries = x.size(0);
  const at::Tensor alone = sample(x);
  if (batch_.size(0) != entries * sequences_ || batch_.sizes().slice(1) != alone.sizes().slice(1))
    throw InputError("its tensors have other sizes for each sequence when one runs alone");
  const double outer = norm_of(batch_.narrow(0, sequence * entries, entries) - alone),
               inner = norm_of(batch_.slice(0, sequence, std::nullopt, sequences_) - alone);
  const double same = (x.element_size() < 4 ? kSame16Bit : kSame) * norm_of(alone);
  const auto [nearer, farther] = std::minmax(outer, inner);
  if (farther <= same) {
    ++agreed_;
    return;
  }
  if (farther < kNearer * nearer)
    throw InputError(fmt::format("the attention of sequence {} alone is found nowhere in that of its batch", sequence));
  sequences_inner_ = inner < outer;
  batch_ = at::Tensor();
}

void MergedOrder::settle() {
  if (agreed_ == sequences_) batch_ = at::Tensor();
}

}  // namespace sinkscope
