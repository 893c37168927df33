#include "files/element_values.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace sinkscope {
namespace {

template <typename T>
double plain(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

double half(const std::byte* at) {
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double size = exponent == 0    ? std::ldexp(fraction, -24)
                      : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                       : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

double bfloat(const std::byte* at) {
  std::array<std::byte, 4> wide{};
  std::memcpy(wide.data() + 2, at, 2);
  return plain<float>(wide.data());
}

struct Dtype {
  std::string_view name;
  std::size_t size;  ///< bytes
  double (*read)(const std::byte*);
  double epsilon;
};

constexpr std::array<Dtype, 13> kDtypes{{
    {"BOOL", 1, plain<std::uint8_t>, 0},
    {"U8", 1, plain<std::uint8_t>, 0},
    {"I8", 1, plain<std::int8_t>, 0},
    {"U16", 2, plain<std::uint16_t>, 0},
    {"I16", 2, plain<std::int16_t>, 0},
    {"U32", 4, plain<std::uint32_t>, 0},
    {"I32", 4, plain<std::int32_t>, 0},
    {"U64", 8, plain<std::uint64_t>, 0},
    {"I64", 8, plain<std::int64_t>, 0},
    {"F16", 2, half, 0x1p-10},
    {"BF16", 2, bfloat, 0x1p-7},
    {"F32", 4, plain<float>, 0x1p-23},
    {"F64", 8, plain<double>, 0x1p-52},
}};

const Dtype* find(std::string_view name) {
  for (const Dtype& dtype : kDtypes)
    if (dtype.name == name) return &dtype;
  return nullptr;
}

}  // namespace

std::optional<std::vector<double>> values_of(const TensorView& tensor, std::size_t first, std::size_t count) {
  const Dtype* dtype = find(tensor.dtype);
  if (dtype == nullptr) return std::nullopt;
  std::vector<std::byte> bytes(count * dtype->size);
  tensor.read(first * dtype->size, bytes);
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = dtype->read(bytes.data() + i * dtype->size);
  return values;
}

double epsilon_of(std::string_view dtype) {
  const Dtype* found = find(dtype);
  return found == nullptr ? 0 : found->epsilon;
}

}  // namespace sinkscope
