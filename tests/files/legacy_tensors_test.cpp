#include "files/legacy_tensors.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "catch.h"
#include "files/element_values.h"

using namespace sinkscope;

namespace {

using Shape = std::vector<std::int64_t>;

/// Whether a tensor of float32 whose element i is `value(i)` is known, and as what.
std::optional<LegacyTensor> kind_of(const std::string& name, const Shape& shape,
                                    const std::function<double(std::size_t)>& value) {
  TensorView tensor;
  tensor.name = name;
  tensor.dtype = "F32";
  tensor.shape = shape;
  std::vector<float> values(
      static_cast<std::size_t>(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>())));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(value(i));
  tensor.bytes = std::as_bytes(std::span(values));
  return legacy_tensor(tensor);
}

double zero(std::size_t) { return 0; }
double learned(std::size_t i) { return std::sin(12.9898 * static_cast<double>(i) + 1); }
double causal8(std::size_t i) { return i % 8 <= i / 8 ? 1 : 0; }
double local8(std::size_t i) { return i % 8 <= i / 8 && i / 8 - i % 8 < 3 ? 1 : 0; }
double counted(std::size_t i) { return static_cast<double>(i); }
double sinusoid16(std::size_t i) {
  const double angle = static_cast<double>(i / 16) * std::pow(10000, -static_cast<double>(i % 8) / 8);
  return i % 16 < 8 ? std::sin(angle) : std::cos(angle);
}

/// The numbers of a tensor of `dtype` whose bytes are those of `bits`.
template <typename T>
std::vector<double> numbers(const std::string& dtype, const std::vector<T>& bits) {
  TensorView tensor;
  tensor.dtype = dtype;
  tensor.shape = {static_cast<std::int64_t>(bits.size())};
  tensor.bytes = std::as_bytes(std::span(bits));
  return values_of(tensor, 0, bits.size()).value();
}

}  // namespace

TEST_CASE("masks, rotary frequencies and positions of old checkpoints are known", "[files]") {
  CHECK(kind_of("model.layers.0.self_attn.rotary_emb.inv_freq", {32}, learned) == LegacyTensor::frequencies);
  CHECK(kind_of("a.rotary_emb.cos_cached", {1, 1, 2, 4}, [](std::size_t i) { return i < 4 ? 1.0 : 0.5; }) ==
        LegacyTensor::rotary);
  CHECK(kind_of("a.rotary_emb.sin_cached", {1, 1, 2, 4}, [](std::size_t i) { return i < 4 ? 0.0 : 0.5; }) ==
        LegacyTensor::rotary);
  CHECK(kind_of("transformer.h.0.attn.bias", {1, 1, 8, 8}, causal8) == LegacyTensor::mask);
  CHECK(kind_of("transformer.h.1.attn.attention.bias", {1, 1, 8, 8}, local8) == LegacyTensor::mask);
  CHECK(kind_of("transformer.h.0.attn.masked_bias", {}, [](std::size_t) { return -1e4; }) == LegacyTensor::mask_value);
  CHECK(kind_of("transformer.h.0.attn.embed_positions", {64, 16}, sinusoid16) == LegacyTensor::sinusoids);
  CHECK(kind_of("position_ids", {1, 512}, counted) == LegacyTensor::positions);
  CHECK(kind_of("embeddings.token_type_ids", {1, 512}, zero) == LegacyTensor::types);
}

TEST_CASE("a parameter whose name only resembles them is none of them", "[files]") {
  CHECK_FALSE(kind_of("transformer.h.0.attn.bias", {768}, learned));  // a real bias
  CHECK_FALSE(kind_of("transformer.h.0.attn.c_attn.bias", {2304}, learned));
  CHECK_FALSE(kind_of("transformer.h.0.myattn.bias", {1, 1, 8, 8}, causal8));
  CHECK_FALSE(kind_of("model.embed_positions.weight", {64, 16}, sinusoid16));
}

TEST_CASE("a learned tensor of the very name is none of them", "[files]") {
  CHECK_FALSE(kind_of("embed_positions", {64, 16}, learned));
  CHECK_FALSE(kind_of("embed_positions", {0, 16}, learned));
  CHECK_FALSE(kind_of("h.0.attn.bias", {1, 2, 8, 8}, [](std::size_t i) { return causal8(i % 64); }));
  CHECK_FALSE(kind_of("h.0.attn.bias", {1, 1, 8, 8}, learned));
  CHECK_FALSE(kind_of("h.0.attn.bias", {1, 1, 8, 8}, [](std::size_t) { return 1; }));
  CHECK_FALSE(kind_of("h.0.attn.bias", {1, 1, 4, 16}, zero));
  CHECK_FALSE(kind_of("h.0.attn.masked_bias", {}, [](std::size_t) { return -3; }));
  CHECK_FALSE(kind_of("a.rotary_emb.cos_cached", {1, 1, 8, 8}, learned));
  CHECK_FALSE(kind_of("a.rotary_emb.inv_freq", {8, 8}, learned));
  CHECK_FALSE(kind_of("position_ids", {1, 64}, learned));
  CHECK_FALSE(kind_of("position_ids", {2, 64}, counted));
  CHECK_FALSE(kind_of("token_type_ids", {1, 64}, counted));
}

TEST_CASE("elements of every dtype are read as numbers", "[files]") {
  using Numbers = std::vector<double>;
  CHECK(numbers<std::uint16_t>("F16", {0x3c00, 0xc000, 0x3555, 0x0001, 0xfc00, 0x7bff}) ==
        Numbers{1, -2, 0.333251953125, 0x1p-24, -INFINITY, 65504});
  CHECK(numbers<std::uint16_t>("BF16", {0x3f80, 0xc000, 0x0001}) == Numbers{1, -2, 0x1p-133});
  CHECK(numbers<std::uint8_t>("BOOL", {1, 0}) == Numbers{1, 0});
  CHECK(numbers<std::int8_t>("I8", {-1}) == Numbers{-1});
  CHECK(numbers<std::int64_t>("I64", {-7, 1LL << 40}) == Numbers{-7, 0x1p40});
  CHECK(numbers<double>("F64", {0.1}) == Numbers{0.1});
  TensorView packed;
  packed.dtype = "F8_E4M3";
  CHECK_FALSE(values_of(packed, 0, 0).has_value());
}
