#include "files/model_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "catch.h"
#include "files/temporary.h"

using namespace sinkscope;

namespace {

/// The differing keys as "key: checkpoint / model", one after the other.
std::string differences(const std::string& checkpoint, const std::string& model, const std::string& absent = "{}",
                        const std::string& written = "{}") {
  using nlohmann::ordered_json;
  ordered_json metadata;
  metadata["config"] = ordered_json::parse(model);
  metadata["config_defaults"] = ordered_json::parse(absent);
  metadata["config_written"] = ordered_json::parse(written);
  std::string text;
  for (const ConfigDifference& d : config_differences(ordered_json::parse(checkpoint), metadata))
    text += (text.empty() ? "" : "; ") + d.key + ": " + d.checkpoint + " / " + d.model;
  return text;
}

}  // namespace

TEST_CASE("a key that changes the computation is found with both values", "[files]") {
  for (const char* key : {"rope_theta",
                          "sliding_window",
                          "num_attention_heads",
                          "num_key_value_heads",
                          "hidden_size",
                          "num_hidden_layers",
                          "rms_norm_eps",
                          "layer_norm_epsilon",
                          "head_dim",
                          "attn_logit_softcapping",
                          "final_logit_softcapping",
                          "vocab_size",
                          "n_embd",
                          "intermediate_size",
                          "attention_chunk_size",
                          "num_experts_per_tok",
                          "query_pre_attn_scalar",
                          "rotary_pct",
                          "clip_qkv",
                          "attn_temperature_tuning",
                          "relative_attention_max_distance",
                          "n_group",
                          "scoring_func",
                          "feed_forward_proj",
                          "attention_types",
                          "attn_config.alibi",
                          "what_tomorrow_brings"}) {
    const std::string name(key);
    CHECK(differences("{\"" + name + "\": 2}", "{\"" + name + "\": 1}") == name + ": 2 / 1");
    CHECK(differences("{\"" + name + "\": 1}", "{\"" + name + "\": 1}").empty());
    CHECK(differences("{\"" + name + "\": 1}", "{}").empty());
  }
  CHECK(differences(R"({"hidden_act": "relu"})", R"({"hidden_act": "silu"})") == R"(hidden_act: "relu" / "silu")");
  CHECK(differences(R"({"tie_word_embeddings": true})", R"({"tie_word_embeddings": false})") ==
        "tie_word_embeddings: true / false");
  CHECK(differences(R"({"layer_types": ["a", "b"]})", R"({"layer_types": ["a", "a"]})") ==
        R"(layer_types: ["a","b"] / ["a","a"])");
  CHECK(differences(R"({"sliding_window": null})", R"({"sliding_window": 16})") == "sliding_window: null / 16");
}

TEST_CASE("keys of training, labels, dtypes and versions are ignored", "[files]") {
  for (const char* key : {"torch_dtype",
                          "dtype",
                          "transformers_version",
                          "use_cache",
                          "bos_token_id",
                          "initializer_range",
                          "_name_or_path",
                          "attention_dropout",
                          "hidden_dropout_prob",
                          "output_hidden_states",
                          "router_aux_loss_coef",
                          "architectures",
                          "max_position_embeddings",
                          "summary_activation",
                          "pretraining_tp",
                          "layerdrop",
                          "classifier_dropout",
                          "id2label",
                          "temperature",
                          "top_k",
                          "max_length",
                          "n_ctx",
                          "task_specific_params",
                          "auto_map",
                          "quantization_config",
                          "attn_implementation",
                          "chunk_size_feed_forward",
                          "problem_type"}) {
    const std::string name(key);
    CHECK(differences("{\"" + name + "\": 2}", "{\"" + name + "\": 1}").empty());
  }
}

TEST_CASE("old and new names of one thing are compared with each other", "[files]") {
  CHECK(differences(R"({"n_head": 4})", R"({"num_attention_heads": 8})") == "n_head: 4 / 8");
  CHECK(differences(R"({"rope_theta": 1e4})", R"({"rope_parameters": {"rope_theta": 10000, "rope_type": "default"}})")
            .empty());
  CHECK(differences(R"({"rope_parameters": {"rope_theta": 500000.0}})", R"({"rope_theta": 10000.0})") ==
        "rope_parameters.rope_theta: 500000.0 / 10000.0");
  CHECK(differences(R"({"rotary_emb_base": 10000, "rotary_pct": 0.25})",
                    R"({"rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 0.25}})")
            .empty());
  CHECK(
      differences(
          R"({"rope_theta": 1e6, "rope_local_base_freq": 1e4})",
          R"({"rope_parameters": {"full_attention": {"rope_theta": 1000000}, "sliding_attention": {"rope_theta": 2e4}}})") ==
      "rope_local_base_freq: 10000.0 / 20000.0");
  CHECK(differences(R"({"text_config": {"hidden_size": 8}, "hidden_size": 9})", R"({"hidden_size": 8})").empty());
}

TEST_CASE("nested objects are compared key by key", "[files]") {
  CHECK(differences(
            R"({"attn_config": {"alibi": false, "softmax_scale": 0.5, "attn_pdrop": 1, "attn_impl": "triton"}})",
            R"({"attn_config": {"alibi": true, "softmax_scale": null, "attn_pdrop": 0, "attn_impl": "torch"}})") ==
        "attn_config.alibi: false / true; attn_config.softmax_scale: 0.5 / null");
  CHECK(differences(R"({"id2label": {"0": "a"}, "init_config": {"std": 1}})",
                    R"({"id2label": {"0": "b"}, "init_config": {"std": 2}})")
            .empty());
}

TEST_CASE("an absent key is compared where it is known what it means", "[files]") {
  const std::string model = R"({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "clip_qkv": 8})";
  const std::string absent =
      R"({"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "clip_qkv": null, "dtype": null})";
  CHECK(differences("{}", model).empty());
  CHECK(differences("{}", model, absent) ==
        "clip_qkv: null, by default, / 8; rope_parameters.rope_theta: 10000.0, by default, / 1000000.0");
  CHECK(differences(R"({"clip_qkv": 8, "rope_theta": 1000000})", model, absent).empty());
  CHECK(differences(R"({"clip_qkv": 8, "rope_scaling": null})", model, absent) ==
        "rope_parameters.rope_theta: 10000.0, by default, / 1000000.0");
  // A key about rotary positions that this program does not know may say the same in other words.
  CHECK(differences(R"({"clip_qkv": 8, "the_rope_base": 1000000})", model, absent).empty());
  const std::string scaled = R"({"rope_parameters": {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}})";
  CHECK(differences("{}", scaled, R"({"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}})") ==
        R"(rope_scaling.factor: null / 2.0; rope_scaling.rope_type: null / "linear")");
}

TEST_CASE("what the model's own file said passes, whatever the library took it for", "[files]") {
  const std::string model = R"({"hidden_act": "gelu_pytorch_tanh"})", written = R"({"hidden_act": "gelu"})";
  CHECK(differences(written, model, "{}", written).empty());
  CHECK(differences(model, model, "{}", written).empty());
  CHECK(differences(R"({"hidden_act": "relu"})", model, "{}", written) ==
        R"(hidden_act: "relu" / "gelu_pytorch_tanh")");
}

TEST_CASE("how positions are scaled is compared as a whole", "[files]") {
  const std::string plain = R"({"rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}})";
  CHECK(differences(R"({"rope_scaling": null})", plain).empty());
  CHECK(differences(R"({"rope_scaling": {"type": "linear", "factor": 2.0}})", plain) ==
        R"(rope_scaling.factor: 2.0 / null; rope_scaling.type: "linear" / null)");
  CHECK(differences(R"({"rope_scaling": {"type": "linear", "factor": 2}})",
                    R"({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}})")
            .empty());
  CHECK(differences("{}", R"({"rope_scaling": {"type": "linear", "factor": 2.0}})").empty());  // nothing is said
}

TEST_CASE("null stands for what the library derives", "[files]") {
  CHECK(differences(R"({"num_attention_heads": 4, "num_key_value_heads": null})",
                    R"({"num_attention_heads": 4, "num_key_value_heads": 4})")
            .empty());
  CHECK(differences(R"({"num_attention_heads": 4, "hidden_size": 64, "head_dim": null})",
                    R"({"num_attention_heads": 4, "hidden_size": 64, "head_dim": 32})") == "head_dim: 16 / 32");
  CHECK(differences(R"({"use_sliding_window": false, "sliding_window": 4096})",
                    R"({"use_sliding_window": false, "sliding_window": null})")
            .empty());
}

TEST_CASE("null for a list by layer or a size says nothing, null for a window or a limit says none", "[files]") {
  CHECK(differences(R"({"layer_types": null, "mlp_dim": null})", R"({"layer_types": ["a"], "mlp_dim": 8})").empty());
  CHECK(differences(R"({"window_size": null, "clip_qkv": null})", R"({"window_size": 16, "clip_qkv": 8})") ==
        "clip_qkv: null / 8; window_size: null / 16");
}

TEST_CASE("which layers have a window is compared only where a window is used", "[files]") {
  const std::string there = R"({"use_sliding_window": false, "sliding_window": 32768, "max_window_layers": 24})";
  CHECK(
      differences(there, R"({"use_sliding_window": false, "sliding_window": null, "max_window_layers": 28})").empty());
  CHECK(differences(there, R"({"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 28})") ==
        "sliding_window: null / 4096; use_sliding_window: false / true");
  CHECK(differences(R"({"use_sliding_window": true, "max_window_layers": 24})",
                    R"({"use_sliding_window": true, "max_window_layers": 28})") == "max_window_layers: 24 / 28");
}

TEST_CASE("a spelling that is null gives way to the one beside it", "[files]") {
  const std::string model = R"({"hidden_activation": "gelu_pytorch_tanh"})";
  CHECK(differences(R"({"hidden_act": "gelu_pytorch_tanh", "hidden_activation": null})", model).empty());
  CHECK(differences(R"({"hidden_activation": null, "hidden_act": "gelu_pytorch_tanh"})", model).empty());
}

TEST_CASE("a configuration that is no JSON object is refused by name", "[files]") {
  const TemporaryFolder folder;
  for (const char* text : {"", "[]", "{"}) {
    const std::string path = folder.file("config.json", text);
    CHECK(contains(message_of<InputError>([&] { read_model_config(path); }), path));
  }
}
