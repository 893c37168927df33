#include "model/weight_problems.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace sinkscope {
namespace {

constexpr std::size_t kListed = 8;  // of a kind

}  // namespace

void WeightProblems::throw_if_any(const std::string& weights, const std::string& model) const {
  if (lists_.empty()) return;
  std::string text = fmt::format("{}: the tensors do not fit the model {}.", weights, model);
  for (const auto& [kind, names] : lists_) {
    text += fmt::format("\n{} ({}):", kind, names.size());
    for (std::size_t i = 0; i < std::min(names.size(), kListed); ++i) text += "\n  " + names[i];
    if (names.size() > kListed) text += fmt::format("\n  ... and {} more", names.size() - kListed);
  }
  throw InputError(text);
}

}  // namespace sinkscope
