"""Tiny random Hugging Face directories, with weights large enough that attention features matter.

With the library's own initialisation (.02) attention is nearly uniform, and an exporter that loses a window or a scale
goes unnoticed; .15 makes logits of several units. Windows are far below the position limit, so they hide keys.
"""

import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

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
FAMILIES: dict[str, dict] = {
    "llama": _LLAMA_LIKE,
    "gpt2": {**_SHARED, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS},
    "gpt_neox": {**_SHARED, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": LAYERS,
                 "num_attention_heads": HEADS, "max_position_embeddings": POSITIONS, "tie_word_embeddings": False},
    "qwen2": {**_LLAMA_LIKE, "tie_word_embeddings": True},
    "mistral": {**_LLAMA_LIKE, "sliding_window": None},
    "gemma2": {**_LLAMA_LIKE, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": WINDOW,
               "attn_logit_softcapping": 2.0},
    "bloom": {**_SHARED, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
}


def tiny_model(family: str, *, seed: int = 0, **overrides) -> PreTrainedModel:
    """A random model of a family in float32 with eager attention; overrides are configuration keys."""
    config = AutoConfig.for_model(family, **{**FAMILIES[family], **overrides})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
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
