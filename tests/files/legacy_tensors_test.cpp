#include "files/legacy_tensors.h"

#include "catch.h"

using namespace sinkscope;

namespace {

bool is_legacy(const std::string& name, const std::vector<std::int64_t>& shape) {
  TensorView tensor;
  tensor.name = name;
  tensor.shape = shape;
  return legacy_tensor(tensor).has_value();
}

}  // namespace

TEST_CASE("masks, rotary frequencies and positions of old checkpoints are known", "[files]") {
  CHECK(is_legacy("model.layers.0.self_attn.rotary_emb.inv_freq", {32}));
  CHECK(is_legacy("transformer.h.0.attn.bias", {1, 1, 1024, 1024}));
  CHECK(is_legacy("transformer.h.0.attn.masked_bias", {}));
  CHECK(is_legacy("gpt_neox.layers.5.attention.bias", {1, 1, 2048, 2048}));
  CHECK(is_legacy("position_ids", {1, 512}));
}

TEST_CASE("a parameter whose name only resembles them is none of them", "[files]") {
  CHECK_FALSE(is_legacy("transformer.h.0.attn.bias", {768}));  // a real bias
  CHECK_FALSE(is_legacy("transformer.h.0.attn.c_attn.bias", {2304}));
  CHECK_FALSE(is_legacy("transformer.h.0.myattn.bias", {1, 1, 8, 8}));
  CHECK_FALSE(is_legacy("model.embed_positions.weight", {512, 64}));
}
