#pragma once
// A value that all heads of a site share, or one for each.

#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

namespace sinkscope {

template <class T>
class PerHead {
 public:
  PerHead() = default;
  /// One value, or one for each head.
  explicit PerHead(std::vector<T> values) : values_(std::move(values)) {}

  const T& at(std::size_t head) const { return values_.size() == 1 ? values_.front() : values_.at(head); }

  /// f of every value; heads that share theirs share the result.
  template <class F>
  auto map(F f) const {
    std::vector<std::decay_t<std::invoke_result_t<F, const T&>>> results;
    results.reserve(values_.size());
    for (const T& value : values_) results.push_back(f(value));
    return PerHead<typename decltype(results)::value_type>(std::move(results));
  }

 private:
  std::vector<T> values_;
};

}  // namespace sinkscope
