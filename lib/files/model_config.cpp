#include "files/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "files/mapped_file.h"

namespace sinkscope {
namespace {

using Json = nlohmann::ordered_json;

/// Families write one thing under several names; the last of a row is the common one.
constexpr std::array<std::pair<std::string_view, std::string_view>, 23> kCommonNames{{
    {"n_embd", "hidden_size"},
    {"d_model", "hidden_size"},
    {"n_layer", "num_hidden_layers"},
    {"n_layers", "num_hidden_layers"},
    {"num_layers", "num_hidden_layers"},
    {"n_head", "num_attention_heads"},
    {"n_heads", "num_attention_heads"},
    {"num_heads", "num_attention_heads"},
    {"num_kv_heads", "num_key_value_heads"},
    {"n_head_kv", "num_key_value_heads"},
    {"n_inner", "intermediate_size"},
    {"ffn_dim", "intermediate_size"},
    {"ffn_hidden_size", "intermediate_size"},
    {"activation_function", "hidden_act"},
    {"hidden_activation", "hidden_act"},
    {"layer_norm_epsilon", "layer_norm_eps"},
    {"norm_epsilon", "layer_norm_eps"},
    {"norm_eps", "layer_norm_eps"},
    {"rotary_emb_base", "rope_theta"},
    {"rope_base", "rope_theta"},
    {"rotary_pct", "partial_rotary_factor"},
    {"d_kv", "head_dim"},
    {"rope_local_base_freq", "rope_parameters.sliding_attention.rope_theta"},
}};

/// A key changes the computation if its name holds one of these words ...
constexpr std::array<std::string_view, 30> kMatters{"rope",
                                                    "rotary",
                                                    "window",
                                                    "head",
                                                    "norm",
                                                    "eps",
                                                    "layer",
                                                    "hidden_act",
                                                    "activation",
                                                    "cap",
                                                    "scal",
                                                    "expert",
                                                    "hidden",
                                                    "intermed",
                                                    "vocab",
                                                    "tie_word",
                                                    "alibi",
                                                    "bias",
                                                    "multipl",
                                                    "chunk",
                                                    "qk_",
                                                    "kv_",
                                                    "lora",
                                                    "parallel",
                                                    "moe",
                                                    "router",
                                                    "topk",
                                                    "multi_query",
                                                    "position_embedding",
                                                    "model_type"};
/// ... unless it holds one of these: training, labels, outputs, and what only bounds the length.
constexpr std::array<std::string_view, 13> kIgnored{
    "drop",    "token",          "initializer",  "output_",      "loss",        "label", "jitter",
    "summary", "implementation", "max_position", "feed_forward", "pretraining", "upcast"};

bool holds(std::string_view key, std::string_view word) { return key.find(word) != std::string_view::npos; }

bool matters(std::string_view key) {
  const auto in_key = [&](std::string_view word) { return holds(key, word); };
  return std::any_of(kMatters.begin(), kMatters.end(), in_key) &&
         std::none_of(kIgnored.begin(), kIgnored.end(), in_key);
}

struct Value {
  std::string written;  ///< the key as the file has it
  Json value;
};

class Normalised {
 public:
  explicit Normalised(const Json& config) {
    read(config);
    if (const auto text = config.find("text_config"); text != config.end() && text->is_object()) read(*text);
    finish();
  }

  std::map<std::string, Value> values;
  bool says_scaling = false;  ///< whether it tells how positions are scaled, if only by null

 private:
  void read(const Json& config) {
    for (const auto& [key, value] : config.items()) {
      if (key == "rope_scaling" || key == "rope_parameters") {
        says_scaling = true;
        if (value.is_object()) read_rope(key, value);
      } else if (!value.is_object()) {
        const auto common = std::find_if(kCommonNames.begin(), kCommonNames.end(),
                                         [&, name = key](const auto& row) { return row.first == name; });
        const std::string name(common == kCommonNames.end() ? std::string_view(key) : common->second);
        // Where two spellings stand side by side, null is the one that is not used.
        if (matters(name) && !(value.is_null() && values.contains(name))) values[name] = {key, value};
      }
    }
  }

  /// {rope_theta, rope_type, factor, ...}, or one such object for each type of layer.
  void read_rope(const std::string& key, const Json& rope) {
    for (const auto& [name, value] : rope.items()) {
      const std::string written = key + "." + name;
      if (value.is_object()) {
        for (const auto& [inner, inner_value] : value.items())
          add_rope(written + "." + inner, name == "full_attention" ? "" : "rope_parameters." + name + ".", inner,
                   inner_value);
      } else {
        add_rope(written, "", name, value);
      }
    }
  }

  void add_rope(const std::string& written, const std::string& prefix, const std::string& name, const Json& value) {
    if (value.is_null()) return;
    if (name == "rope_theta" || name == "partial_rotary_factor") {
      values[prefix + name] = {written, value};
    } else if (!((name == "rope_type" || name == "type") && value == "default")) {
      values[prefix + "rope_scaling." + (name == "type" ? "rope_type" : name)] = {written, value};
    }
  }

  /// Values that null stands for.
  void finish() {
    const auto integer = [&](const char* key) -> std::int64_t {
      const auto it = values.find(key);
      return it != values.end() && it->second.value.is_number_integer() ? it->second.value.get<std::int64_t>() : 0;
    };
    const std::int64_t heads = integer("num_attention_heads"), width = integer("hidden_size");
    const auto fill = [&](const char* key, std::int64_t value) {
      const auto it = values.find(key);
      if (it == values.end() || !it->second.value.is_null()) return;
      if (value > 0)
        it->second.value = value;
      else
        values.erase(it);
    };
    fill("num_key_value_heads", heads);
    fill("head_dim", heads > 0 ? width / heads : 0);
    fill("intermediate_size", 4 * width);
    if (const auto use = values.find("use_sliding_window"); use != values.end() && use->second.value == false) {
      if (const auto window = values.find("sliding_window"); window != values.end()) window->second.value = nullptr;
      values.erase("max_window_layers");  // which layers have the window that none has
    }
  }
};

bool is_scaling(const std::string& key) { return holds(key, "rope_scaling."); }

}  // namespace

std::vector<ConfigDifference> config_differences(const Json& checkpoint, const Json& model) {
  const Normalised theirs(checkpoint), ours(model);
  std::map<std::string, std::string> keys;  // common name -> as the checkpoint writes it
  for (const auto& [key, value] : ours.values) keys[key] = key;
  for (const auto& [key, value] : theirs.values) keys[key] = value.written;
  std::vector<ConfigDifference> found;
  for (const auto& [key, written] : keys) {
    const auto a = theirs.values.find(key), b = ours.values.find(key);
    const bool both = a != theirs.values.end() && b != ours.values.end();
    if (!both && !(is_scaling(key) && theirs.says_scaling && ours.says_scaling)) continue;
    const Json there = a == theirs.values.end() ? Json() : a->second.value;
    const Json here = b == ours.values.end() ? Json() : b->second.value;
    if (there != here) found.push_back({written, key, there.dump(), here.dump()});
  }
  return found;
}

Json read_model_config(const std::string& path) {
  Json config = Json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) throw InputError(fmt::format("{}: not a configuration: it is no JSON object", path));
  return config;
}

}  // namespace sinkscope
