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
constexpr std::array<std::pair<std::string_view, std::string_view>, 27> kCommonNames{{
    {"n_embd", "hidden_size"},
    {"n_embed", "hidden_size"},
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
    {"global_rope_theta", "rope_theta"},
    {"rotary_pct", "partial_rotary_factor"},
    {"rope_pct", "partial_rotary_factor"},
    {"d_kv", "head_dim"},
    {"rope_local_base_freq", "rope_parameters.sliding_attention.rope_theta"},
    {"local_rope_theta", "rope_parameters.sliding_attention.rope_theta"},
}};

std::string common_name(const std::string& written) {
  for (const auto& [name, common] : kCommonNames)
    if (name == written) return std::string(common);
  return written;
}

/// A key is not compared if it holds one of these words. They stand for
constexpr std::array<std::string_view, 38> kIgnoredWords{
    // training,
    "dropout", "pdrop", "layerdrop", "drop_path", "initializer", "init_", "loss", "jitter", "pretraining", "label",
    "gradient_checkpointing",
    // names, versions, dtypes, and how and where it runs,
    "name_or_path", "commit_hash", "architectures", "auto_map", "transformers_version", "tokenizer", "task_specific",
    "finetuning_task", "dtype", "use_bfloat16", "upcast", "quantization", "torchscript", "implementation", "attn_impl",
    "flash", "device", "verbose",
    // ids of special tokens,
    "token_id", "token_index",
    // generation and outputs,
    "cache", "output_", "summary", "generat",
    // and what only bounds a length.
    "max_position", "max_seq", "model_max"};
/// The same for whole names: training; bounds, and a cut in pieces; generation.
constexpr std::array<std::string_view, 33> kIgnoredNames{"problem_type",
                                                         "seq_aux",
                                                         "ep_size",
                                                         "n_positions",
                                                         "n_ctx",
                                                         "chunk_size_feed_forward",
                                                         "return_dict",
                                                         "prefix",
                                                         "max_length",
                                                         "min_length",
                                                         "do_sample",
                                                         "early_stopping",
                                                         "num_beams",
                                                         "num_beam_groups",
                                                         "diversity_penalty",
                                                         "temperature",
                                                         "top_k",
                                                         "top_p",
                                                         "typical_p",
                                                         "repetition_penalty",
                                                         "length_penalty",
                                                         "no_repeat_ngram_size",
                                                         "encoder_no_repeat_ngram_size",
                                                         "bad_words_ids",
                                                         "num_return_sequences",
                                                         "return_dict_in_generate",
                                                         "tf_legacy_loss",
                                                         "remove_invalid_values",
                                                         "exponential_decay_length_penalty",
                                                         "suppress_tokens",
                                                         "begin_suppress_tokens",
                                                         "pruned_heads",
                                                         "is_composition"};

bool holds(std::string_view key, std::string_view word) { return key.find(word) != std::string_view::npos; }

/// Whether a key may change the computation; dots part the names of nested objects.
bool matters(std::string_view key) {
  const std::string_view name = key.substr(key.rfind('.') + 1);  // all of it where there is no dot
  return std::find(kIgnoredNames.begin(), kIgnoredNames.end(), name) == kIgnoredNames.end() &&
         std::none_of(kIgnoredWords.begin(), kIgnoredWords.end(),
                      [&](std::string_view word) { return holds(key, word); });
}

/// Whether null stands for what the library derives from other keys: lists by layer, and sizes, which the shapes of the
/// tensors tell too.
bool follows_from_others(std::string_view key, const Json& value) {
  constexpr std::array<std::string_view, 3> kSizes{"size", "dim", "num_"};
  return value.is_array() || (!holds(key, "window") &&
                              std::any_of(kSizes.begin(), kSizes.end(), [&](auto word) { return holds(key, word); }));
}

bool is_scaling(const std::string& key) { return holds(key, "rope_scaling."); }

struct Value {
  std::string written;  ///< the key as the file has it
  Json value;
  bool absent = false;  ///< the file does not have it: the value is the library's
};

class Normalised {
 public:
  explicit Normalised(const Json& config) {
    read(config, "");
    if (const auto text = config.find("text_config"); text != config.end() && text->is_object()) read(*text, "");
    finish();
  }

  /// Takes from `absent` what this configuration does not say: the values that the library gives to absent keys.
  void complete(const Normalised& absent) {
    const bool silent = !says_positions_ && !says_scaling;
    for (const auto& [key, value] : absent.values)
      if (!(holds(key, "rope") || holds(key, "rotary")) || (!says_positions_ && (silent || !is_scaling(key))))
        values.emplace(key, Value{value.written, value.value, true});
    says_scaling = says_scaling || (silent && absent.says_scaling);
  }

  std::map<std::string, Value> values;
  bool says_scaling = false;  ///< whether it tells how positions are scaled, if only by null

 private:
  void read(const Json& config, const std::string& within) {
    for (const auto& [key, value] : config.items()) {
      if (within.empty() && (key == "rope_scaling" || key == "rope_parameters")) {
        says_scaling = true;
        if (value.is_object()) read_rope(key, value);
      } else if (value.is_object()) {
        if (!within.empty() || key != "text_config") read(value, within + key + ".");
      } else {
        add(within + key, value);
      }
    }
  }

  void add(const std::string& written, const Json& value) {
    const std::string name = common_name(written);
    if (!matters(name)) return;
    says_positions_ = says_positions_ || holds(written, "rope") || holds(written, "rotary");
    // Where two spellings stand side by side, null is the one that is not used.
    if (!(value.is_null() && values.contains(name))) values[name] = {written, value};
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
    if (name == "rope_theta" || name == "partial_rotary_factor") says_positions_ = true;
    if (name == "rope_theta" || name == "partial_rotary_factor") {
      values[prefix + name] = {written, value};
    } else if (!((name == "rope_type" || name == "type") && value == "default")) {
      values[prefix + "rope_scaling." + (name == "type" ? "rope_type" : name)] = {
          written, value == "su" ? Json("longrope") : value};  // as it was called first
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

  bool says_positions_ = false;  ///< whether a key beside those of scaling is about rotary positions
};

Normalised completed(Normalised config, const Json& absent) {
  config.complete(Normalised(absent));
  return config;
}

}  // namespace

std::vector<ConfigDifference> config_differences(const Json& checkpoint, const Json& metadata) {
  const auto member = [&](const char* name) {
    const auto found = metadata.find(name);
    return found != metadata.end() && found->is_object() ? *found : Json::object();
  };
  const Normalised theirs = completed(Normalised(checkpoint), member("config_defaults")), ours(member("config")),
                   written_ours(member("config_written"));
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
    const auto source = written_ours.values.find(key);
    if (source != written_ours.values.end() && a != theirs.values.end() && source->second.value == there) continue;
    if (there == here || (there.is_null() && follows_from_others(key, here)) ||
        (here.is_null() && follows_from_others(key, there)))
      continue;
    const bool by_default = a != theirs.values.end() && a->second.absent;
    found.push_back({written, key, there.dump() + (by_default ? ", by default," : ""), here.dump()});
  }
  return found;
}

Json read_model_config(const std::string& path) {
  Json config = Json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) throw InputError(fmt::format("{}: not a configuration: it is no JSON object", path));
  return config;
}

}  // namespace sinkscope
