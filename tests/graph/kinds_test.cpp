// Self and cross attention told apart by where the keys come from.
#include "graph/kinds.h"

#include <set>

#include "catch.h"
#include "graph/blocks.h"
#include "graph/find_attention.h"
#include "graph/streams.h"
#include "models.h"

namespace sinkscope {
namespace {

using torch::jit::Module;

/// Attention of x to memory; one head.
Module cross_attention(std::uint64_t seed, const char* key = "memory") {
  Module m("Cross");
  m.register_parameter("q", models::numbers({models::kWidth, models::kWidth}, seed), false);
  m.register_parameter("k", models::numbers({models::kWidth, models::kWidth}, seed + 1), false);
  m.define(std::string(R"(
def forward(self, x, memory):
    q = torch.linear(x, self.q).unsqueeze(1)
    k = torch.linear()") +
           key + R"(, self.k).unsqueeze(1)
    return torch.scaled_dot_product_attention(q, k, k).squeeze(1)
)");
  return m;
}

/// Self-attention, then attention to memory; `residual`: how the second joins the stream.
Module decoder_block(std::uint64_t seed, const std::string& residual = "x + y") {
  Module m("DecoderBlock");
  m.register_module("own", models::attention(seed));
  m.register_module("other", cross_attention(seed + 2));
  m.define(R"(
def forward(self, x, memory):
    x = x + self.own.forward(x)
    y = self.other.forward(x, memory)
    return )" +
           residual + "\n");
  return m;
}

Module list_of(const Module& first, const Module& second, const char* arguments) {
  Module list("List");
  list.register_module("0", first);
  list.register_module("1", second);
  list.define(std::string("def forward(self, ") + arguments + "):\n    x = getattr(self, '0').forward(" + arguments +
              ")\n    return getattr(self, '1').forward(" + arguments + ")\n");
  return list;
}

Module encoder_decoder(const std::string& residual = "x + y") {
  Module m("Model");
  m.register_parameter("embedding", models::numbers({models::kVocabulary, models::kWidth}, 1, 2), false);
  m.register_module("encoder", list_of(models::block(10), models::block(20), "x"));
  m.register_module("decoder", list_of(decoder_block(30, residual), decoder_block(40, residual), "x, memory"));
  m.define(R"(
def forward(self, ids):
    x = torch.embedding(self.embedding, ids)
    return self.decoder.forward(x, torch.tanh(self.encoder.forward(x)))
)");
  return m;
}

std::vector<Site> sites_of(const Module& module) {
  std::set<std::string> paths, marked;
  for (const Site& site : find_attention(*inline_with_paths(module).graph).sites) paths.insert(site.called_as);
  const auto blocks = find_blocks(module, paths);
  for (const auto& [site, block] : blocks) marked.insert(block);
  FlatGraph flat = inline_with_paths(module, marked);
  std::vector<Site> sites = find_attention(*flat.graph).sites;
  find_streams(flat, blocks, sites);
  find_kinds(flat, blocks, sites);
  return sites;
}

std::vector<std::string> kinds_of(const Module& module) {
  std::vector<std::string> kinds;
  for (const Site& site : sites_of(module)) kinds.push_back(site.info.kind);
  return kinds;
}

TEST_CASE("keys of an encoder's output make cross attention, also where the lengths are equal", "[graph]") {
  const std::vector<std::string> expected{"self", "self", "self", "cross", "self", "cross"};
  CHECK(kinds_of(encoder_decoder()) == expected);
  CHECK(kinds_of(encoder_decoder("torch.tanh(x + y)")) == expected);  // post-norm: the sum is not the last operation
}

TEST_CASE("encoder and decoder count their layers from 0 each", "[graph]") {
  std::vector<std::int64_t> layers;
  for (const Site& site : sites_of(encoder_decoder())) layers.push_back(site.info.layer.value());
  CHECK(layers == std::vector<std::int64_t>{0, 1, 0, 0, 1, 1});
}

TEST_CASE("a decoder without an encoder has self-attention only", "[graph]") {
  CHECK(kinds_of(models::language_model()) == std::vector<std::string>{"self", "self"});
}

TEST_CASE("keys that an earlier layer of the same stack computed are self-attention", "[graph]") {
  Module m("Model");
  m.register_module("blocks", list_of(decoder_block(30), decoder_block(40), "x, memory"));
  m.define("def forward(self, x):\n    return self.blocks.forward(x, x)\n");
  // `memory` is what entered the stack: not the state that the block carries.
  CHECK(kinds_of(m) == std::vector<std::string>{"self", "cross", "self", "cross"});

  Module shared("Shared");  // the second block attends to what left the first
  Module list("List");
  list.register_module("0", models::block(10));
  list.register_module("1", decoder_block(20));
  list.define(R"(
def forward(self, x):
    y = getattr(self, "0").forward(x)
    return getattr(self, "1").forward(y, y)
)");
  shared.register_module("blocks", list);
  shared.define("def forward(self, x):\n    return self.blocks.forward(x)\n");
  CHECK(kinds_of(shared) == std::vector<std::string>{"self", "self", "self"});
}

TEST_CASE("a module of its own attends to its memory, not to itself", "[graph]") {
  Module m("Model");
  m.register_module("own", cross_attention(3, "x"));
  m.register_module("other", cross_attention(5));
  m.define("def forward(self, x):\n    return self.other.forward(x, torch.tanh(x)) + self.own.forward(x, x)\n");
  CHECK(kinds_of(m) == std::vector<std::string>{"cross", "self"});
}

}  // namespace
}  // namespace sinkscope
