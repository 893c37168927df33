#pragma once
// Tiny TorchScript modules, written with Module::define(): no binary fixtures.

#include <torch/script.h>

#include <filesystem>
#include <string>

#include "base/random.h"

namespace sinkscope::models {

inline constexpr std::int64_t kVocabulary = 20, kWidth = 8, kHeads = 2;

/// Reproducible, portable values in [-scale, scale).
inline at::Tensor numbers(at::IntArrayRef shape, std::uint64_t seed, double scale = 1) {
  SplitMix64 random(seed);
  at::Tensor values = at::empty(shape, at::kDouble);
  auto* data = values.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) data[i] = scale * (2 * random.unit() - 1);
  return values.to(at::kFloat);
}

inline constexpr const char* kFused = R"(
def forward(self, x):
    B, T, D = x.shape
    q, k, v = torch.linear(x, self.qkv).view(B, T, 3, 2, D // 2).permute(2, 0, 3, 1, 4).unbind(0)
    y = torch.scaled_dot_product_attention(q, k, v, is_causal=True)
    return torch.linear(y.transpose(1, 2).reshape(B, T, D), self.out)
)";

/// The same by hand.
inline constexpr const char* kByHand = R"(
def forward(self, x):
    B, T, D = x.shape
    q, k, v = torch.linear(x, self.qkv).view(B, T, 3, 2, D // 2).permute(2, 0, 3, 1, 4).unbind(0)
    hidden = torch.ones([T, T], dtype=11, device=x.device).triu(1)
    s = torch.matmul(q, k.transpose(-1, -2)) / 2.0
    s = s.masked_fill(hidden, float('-inf'))
    y = torch.matmul(torch.softmax(s, -1), v)
    return torch.linear(y.transpose(1, 2).reshape(B, T, D), self.out)
)";

/// Attention over [B, T, 8] with 2 heads.
inline torch::jit::Module attention(std::uint64_t seed, const char* source = kFused) {
  torch::jit::Module m("Attention");
  m.register_parameter("qkv", numbers({3 * kWidth, kWidth}, seed), false);
  m.register_parameter("out", numbers({kWidth, kWidth}, seed + 1), false);
  m.define(source);
  return m;
}

/// x + attention(x), then + 0.1 x.
inline torch::jit::Module block(std::uint64_t seed, const char* source = kFused) {
  torch::jit::Module m("Block");
  m.register_module("attention", attention(seed, source));
  m.define(R"(
def forward(self, x):
    h = x + self.attention.forward(x)
    return h + 0.1 * torch.tanh(h)
)");
  return m;
}

/// A language model of two blocks in a list `blocks`; ids [B, T] -> logits [B, T, 20].
inline torch::jit::Module language_model(const char* source = kFused) {
  torch::jit::Module list("Blocks");
  list.register_module("0", block(10, source));
  list.register_module("1", block(20, source));
  list.define(R"(
def forward(self, x):
    return getattr(self, "1").forward(getattr(self, "0").forward(x))
)");
  torch::jit::Module m("Model");
  m.register_parameter("embedding", numbers({kVocabulary, kWidth}, 1, 2), false);
  m.register_parameter("unembedding", numbers({kVocabulary, kWidth}, 2), false);
  m.register_module("blocks", list);
  m.define(R"(
def forward(self, ids):
    return torch.linear(self.blocks.forward(torch.embedding(self.embedding, ids)), self.unembedding)
)");
  return m;
}

/// A file that goes away with the object.
class SavedModel {
 public:
  explicit SavedModel(const torch::jit::Module& module, const std::string& metadata = "")
      : path_(std::filesystem::temp_directory_path() /
              ("sinkscope_model_" + std::to_string(reinterpret_cast<std::uintptr_t>(this)) + "_" +
               std::to_string(getpid()) + ".pt")) {
    torch::jit::ExtraFilesMap extra;
    if (!metadata.empty()) extra["sinkscope.json"] = metadata;
    module.save(path_.string(), extra);
  }
  ~SavedModel() {
    std::error_code code;
    std::filesystem::remove(path_, code);
  }
  SavedModel(const SavedModel&) = delete;
  SavedModel& operator=(const SavedModel&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// [B, T] ids below the vocabulary.
inline at::Tensor ids(std::int64_t batch, std::int64_t length, std::uint64_t seed = 7) {
  SplitMix64 random(seed);
  at::Tensor values = at::empty({batch, length}, at::kLong);
  auto* data = values.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < values.numel(); ++i) data[i] = static_cast<std::int64_t>(random.below(kVocabulary));
  return values;
}

}  // namespace sinkscope::models
