#pragma once
// Elements of a tensor in a safetensors file as numbers.

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "files/safetensors_header.h"

namespace sinkscope {

/// `count` elements of `tensor`, row-major, from the element `first` on, exact but for integers beyond 2^53. Empty for
/// a dtype other than BOOL, integers, F16, BF16, F32 and F64. Throws as TensorView::read does.
std::optional<std::vector<double>> values_of(const TensorView& tensor, std::size_t first, std::size_t count);

/// Distance of 1 to the next number of a floating-point dtype; 0 for any other.
double epsilon_of(std::string_view dtype);

}  // namespace sinkscope
