#include "files/ignored_tensors.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

IgnoredTensors patterns(const std::string& json) { return IgnoredTensors(nlohmann::ordered_json::parse(json)); }

}  // namespace

TEST_CASE("a tensor is ignored if one expression is found anywhere in its name", "[files]") {
  const IgnoredTensors ignored =
      patterns(R"(["model\\.layers\\.61.*", "EncDecAttention.relative_attention_bias", "^mtp\\."])");
  for (const char* name : {"model.layers.61.mlp.weight",
                           "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", "mtp.a"})
    CHECK(ignored.contains(name));
  for (const char* name : {"model.layers.6.mlp.weight", "model.mtp.a", ""}) CHECK_FALSE(ignored.contains(name));
  CHECK_FALSE(IgnoredTensors().contains("a"));
}

TEST_CASE("names and expressions of any length are safe", "[files]") {
  const std::string endless(1'000'000, 'a');
  CHECK_FALSE(patterns(R"(["(a|b)*c"])").contains(endless));
  CHECK_THROWS_AS(patterns("[\"" + std::string(1'000'000, '(') + "\"]"), InputError);
}

TEST_CASE("what is no list of expressions is refused by the entry", "[files]") {
  for (const char* json : {R"("a")", R"([1])", R"(["a", "(b"])", R"({"a": "b"})"})
    CHECK_THROWS_AS(patterns(json), InputError);
  CHECK(contains(message_of<InputError>([] { patterns(R"(["a", "(b"])"); }), "(b"));
}
