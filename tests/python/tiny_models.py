"""Tiny random Hugging Face directories, with weights large enough that attention features matter.

With the library's own initialisation (.02) attention is nearly uniform, and an exporter that loses a window or a scale
goes unnoticed; .15 makes logits of several units. Windows are far below the position limit, so they hide keys.
"""

import json
from pathlib import Path

import torch
from sinkscope_export.families import task_of
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedModel

VOCABULARY = 97
LAYERS = 2
WIDTH = 64
HEADS = 4
POSITIONS = 96
WINDOW = 16
INITIALIZER_RANGE = 0.15

_SHARED = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
           "initializer_range": INITIALIZER_RANGE}
_LLAMA_LIKE = {
    **_SHARED, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": 2, "max_position_embeddings": POSITIONS, "tie_word_embeddings": False,
}
_PLAIN = {  # names of the configuration keys that most families before Llama have
    **_SHARED, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS, "tie_word_embeddings": False,
}
_GPT2_LIKE = {**_SHARED, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS}
_ENCODER = {**_PLAIN, "tie_word_embeddings": True, "type_vocab_size": 1}
FAMILIES: dict[str, dict] = {
    "gpt2": _GPT2_LIKE,
    "gpt_neo": {**_SHARED, "hidden_size": WIDTH, "num_layers": LAYERS, "num_heads": HEADS, "max_position_embeddings": POSITIONS,
                "attention_types": [[["global", "local"], LAYERS // 2]], "window_size": WINDOW},
    "gpt_neox": _PLAIN,
    "gptj": {**_GPT2_LIKE, "rotary_dim": 8, "tie_word_embeddings": False},
    "opt": {**_PLAIN, "ffn_dim": 2 * WIDTH, "word_embed_proj_dim": WIDTH, "init_std": INITIALIZER_RANGE},
    "bloom": {**_SHARED, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
    "mpt": {**_SHARED, "d_model": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "expansion_ratio": 2, "max_seq_len": POSITIONS},
    "falcon": {**_PLAIN, "multi_query": True, "new_decoder_architecture": False, "parallel_attn": True, "alibi": False},
    "llama": _LLAMA_LIKE,
    "mistral": {**_LLAMA_LIKE, "sliding_window": WINDOW},
    "mixtral": {**_LLAMA_LIKE, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": {**_LLAMA_LIKE, "tie_word_embeddings": True},
    "qwen3": {**_LLAMA_LIKE, "head_dim": WIDTH // HEADS},
    "gemma": {**_LLAMA_LIKE, "head_dim": WIDTH // HEADS},
    "gemma2": {**_LLAMA_LIKE, "head_dim": WIDTH // HEADS, "query_pre_attn_scalar": 16, "sliding_window": WINDOW,
               "attn_logit_softcapping": 2.0},
    "gemma3_text": {**_LLAMA_LIKE, "head_dim": WIDTH // HEADS, "query_pre_attn_scalar": 16, "sliding_window": WINDOW,
                    "layer_types": ["sliding_attention", "full_attention"]},
    "phi": {**_PLAIN, "partial_rotary_factor": 0.5},
    "phi3": {**_LLAMA_LIKE, "sliding_window": WINDOW},
    "olmo2": _LLAMA_LIKE,
    "starcoder2": {**_LLAMA_LIKE, "sliding_window": WINDOW},
    "gpt_oss": {**_LLAMA_LIKE, "head_dim": WIDTH // HEADS, "num_local_experts": 4, "num_experts_per_tok": 2,
                "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    "deepseek_v3": {**_LLAMA_LIKE, "num_key_value_heads": HEADS, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
                    "qk_nope_head_dim": 16, "v_head_dim": 16, "n_routed_experts": 8, "n_group": 2, "topk_group": 1,
                    "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 32, "first_k_dense_replace": 1},
    "llama4_text": {**_LLAMA_LIKE, "head_dim": WIDTH // HEADS, "intermediate_size_mlp": 2 * WIDTH, "num_local_experts": 4,
                    "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "attention_chunk_size": WINDOW,
                    "no_rope_layers": [1, 0]},
    "bert": _ENCODER,
    "roberta": {**_ENCODER, "max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, "bos_token_id": 0},
    "vit": {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "image_size": 24, "patch_size": 4, "initializer_range": INITIALIZER_RANGE},
    "t5": {**_SHARED, "d_model": WIDTH, "d_kv": WIDTH // HEADS, "d_ff": 2 * WIDTH, "num_layers": LAYERS, "num_heads": HEADS,
           "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "initializer_factor": 1.0,
           "decoder_start_token_id": 0},
}


def tiny_model(family: str, *, seed: int = 0, **overrides) -> PreTrainedModel:
    """A random model of a family in float32 with eager attention; overrides are configuration keys."""
    config = AutoConfig.for_model(family, **{**FAMILIES[family], **overrides})
    torch.manual_seed(seed)
    model = task_of(config).auto_class.from_config(config, attn_implementation="eager", dtype=torch.float32)
    # Biases and norms start at constants, which would hide an exporter that mixes them up.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def write_tiny_model(directory: Path, family: str, *, seed: int = 0, dtype=torch.float32, **overrides) -> PreTrainedModel:
    """Writes config.json and model.safetensors; returns the model as written."""
    model = tiny_model(family, seed=seed, **overrides).to(dtype)
    model.save_pretrained(directory)
    return model


def write_tiny_tokenizer(directory: Path, *, adds_bos: bool = True) -> Path:
    """Writes a character tokenizer of VOCABULARY ids or fewer: 0 <pad>, 1 <s>, 2 </s>, 3 <unk>, 4 line end, 5... ASCII.

    With adds_bos it puts <s> before every text, as Llama's does; without, it only has one, as GPT-2's does.
    """
    characters = ["\n", *map(chr, range(ord(" "), ord("z")))]
    names = ["<pad>", "<s>", "</s>", "<unk>", *characters][:VOCABULARY]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>", "<unk>"])
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    directory.mkdir(exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory
