#include "files/legacy_tensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <span>
#include <string_view>

#include "files/element_values.h"

namespace sinkscope {
namespace {

using Kind = LegacyTensor;

struct Row {
  std::string_view suffix;  ///< of the name, after a dot
  Kind kind;
};

constexpr std::array<Row, 13> kRows{{
    {"rotary_emb.inv_freq", Kind::frequencies},
    {"rotary_emb.original_inv_freq", Kind::frequencies},
    {"rotary_emb.cos_cached", Kind::rotary},
    {"rotary_emb.sin_cached", Kind::rotary},
    {"attn.bias", Kind::mask},  // gpt2, gptj
    {"attn.masked_bias", Kind::mask_value},
    {"attention.bias", Kind::mask},  // gpt_neox, gpt_neo
    {"attention.masked_bias", Kind::mask_value},
    {"scale_mask_softmax.bias", Kind::mask},
    {"embed_positions", Kind::sinusoids},  // gptj
    {"position_ids", Kind::positions},
    {"token_type_ids", Kind::types},
    {"num_batches_tracked", Kind::batches},
}};

using Values = std::span<const double>;

/// Whether `test(i, row)` holds for every row along the last dim.
bool all_rows(const TensorView& tensor, const std::function<bool(std::size_t, Values)>& test) {
  const auto width = static_cast<std::size_t>(tensor.shape.back());
  const std::size_t rows = width == 0 ? 0 : static_cast<std::size_t>(tensor.elements()) / width;
  for (std::size_t i = 0; i < rows; ++i)
    if (const auto row = values_of(tensor, i * width, width); !row || !test(i, *row)) return false;
  return rows > 0;
}

bool all_equal(Values values, double value) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return v == value; });
}

bool is_mask(const TensorView& tensor) {
  const auto& shape = tensor.shape;
  if (shape[0] != 1 || shape[1] != 1 || shape[2] != shape[3]) return false;
  return all_rows(tensor, [](std::size_t i, Values row) {
    const auto after = row.begin() + static_cast<std::ptrdiff_t>(i);
    return std::all_of(row.begin(), after, [](double v) { return v == 0 || v == 1; }) && *after == 1 &&
           std::all_of(after + 1, row.end(), [](double v) { return v == 0; });
  });
}

/// At position 0 every sine is 0 and every cosine one number.
bool is_rotary(const TensorView& tensor) {
  const auto first = values_of(tensor, 0, static_cast<std::size_t>(tensor.elements() > 0 ? tensor.shape.back() : 0));
  if (!first || first->empty()) return false;
  const bool sines = tensor.name.ends_with("sin_cached");
  return all_equal(*first, first->front()) && (first->front() == 0) == sines;
}

bool is_sinusoids(const TensorView& tensor) {
  const double units = 4 * epsilon_of(tensor.dtype);
  return all_rows(tensor, [&](std::size_t position, Values row) {
    const std::size_t half = row.size() / 2;
    // The angle was rounded too, in float32.
    const double tolerance = units + 4 * epsilon_of("F32") * static_cast<double>(position);
    for (std::size_t i = 0; i < row.size(); ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(10000, -static_cast<double>(i % half) / static_cast<double>(half));
      if (!(std::abs(row[i] - (i < half ? std::sin(angle) : std::cos(angle))) <= tolerance)) return false;
    }
    return true;
  });
}

/// Within the rounding of the dtype that it is kept in.
bool is_positions(const TensorView& tensor) {
  return tensor.shape[0] == 1 && all_rows(tensor, [&](std::size_t, Values row) {
           for (std::size_t i = 0; i < row.size(); ++i)
             if (const auto at = static_cast<double>(i); !(std::abs(row[i] - at) <= at * epsilon_of(tensor.dtype)))
               return false;
           return true;
         });
}

bool holds_mask_value(const TensorView& tensor) {
  const auto value = values_of(tensor, 0, 1);
  return value && is_mask_value(value->front());
}

bool is_of_kind(const TensorView& tensor, Kind kind) {
  const auto rank = tensor.shape.size();
  const bool floating = epsilon_of(tensor.dtype) > 0;
  switch (kind) {
    case Kind::frequencies:
      return rank == 1 && floating;
    case Kind::rotary:
      return rank == 4 && floating && is_rotary(tensor);
    case Kind::sinusoids:
      return rank == 2 && floating && tensor.shape[1] % 2 == 0 && is_sinusoids(tensor);
    case Kind::mask:
      return rank == 4 && is_mask(tensor);
    case Kind::mask_value:
      return rank == 0 && floating && holds_mask_value(tensor);
    case Kind::positions:
      return rank == 2 && is_positions(tensor);
    case Kind::types:
      return rank == 2 && all_rows(tensor, [](std::size_t, Values row) { return all_equal(row, 0); });
    case Kind::batches:
      return rank == 0 && tensor.dtype == "I64";
  }
  return false;
}

}  // namespace

bool is_mask_value(double value) { return value <= -1000; }

std::optional<LegacyTensor> legacy_tensor(const TensorView& tensor) {
  for (const auto& [suffix, kind] : kRows) {
    if (!tensor.name.ends_with(suffix)) continue;
    const std::size_t begin = tensor.name.size() - suffix.size();
    if ((begin == 0 || tensor.name[begin - 1] == '.') && is_of_kind(tensor, kind)) return kind;
  }
  return std::nullopt;
}

}  // namespace sinkscope
