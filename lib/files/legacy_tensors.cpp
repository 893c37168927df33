#include "files/legacy_tensors.h"

#include <array>

namespace sinkscope {
namespace {

struct Row {
  const char* suffix;  ///< of the name, after a dot
  std::size_t rank;    ///< a parameter of the same name has another one
  const char* what;
};

constexpr std::array<Row, 12> kRows{{
    {"rotary_emb.inv_freq", 1, "rotary frequencies"},
    {"rotary_emb.original_inv_freq", 1, "rotary frequencies"},
    {"rotary_emb.cos_cached", 4, "rotary table"},
    {"rotary_emb.sin_cached", 4, "rotary table"},
    {"attn.bias", 4, "causal mask"},  // gpt2, gptj
    {"attn.masked_bias", 0, "value of a mask"},
    {"attention.bias", 4, "causal mask"},  // gpt_neox, gpt_neo
    {"attention.masked_bias", 0, "value of a mask"},
    {"embed_positions", 2, "sinusoidal positions"},  // gptj
    {"position_ids", 2, "positions"},
    {"token_type_ids", 2, "token types"},
    {"scale_mask_softmax.bias", 4, "causal mask"},
}};

}  // namespace

std::optional<std::string> legacy_tensor(const TensorView& tensor) {
  for (const Row& row : kRows) {
    const std::string_view suffix = row.suffix;
    if (tensor.shape.size() != row.rank || !tensor.name.ends_with(suffix)) continue;
    const std::size_t begin = tensor.name.size() - suffix.size();
    if (begin == 0 || tensor.name[begin - 1] == '.') return row.what;
  }
  return std::nullopt;
}

}  // namespace sinkscope
