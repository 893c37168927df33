"""What differs between families: which class loads them, what goes in, and which numbers a small twin may change.

Everything else about a family is found by running it. A row is added here only where nothing general serves.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.models.auto import modeling_auto as auto

from .files import ScriptError

PREFIX = "m."  # what the wrapper below puts before every parameter name


class Wrapped(nn.Module):
    """One tensor in, one tensor out: token ids [B, T] int64 or pixels [B, C, H, W] -> logits."""

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.m = model
        self._call = call

    def forward(self, inputs: Tensor) -> Tensor:
        return self._call(self.m, inputs)


@dataclass(frozen=True)
class Task:
    """How transformers loads a kind of model, and how it is called with one tensor."""

    auto_class: type
    mapping: dict
    input: str  # "tokens" or "tensor", as in the metadata
    call: Callable[[nn.Module, Tensor], Tensor]
    trust_remote_code: bool = False  # whether Python code that a model brings may run


TASKS = {
    "seq2seq": Task(
        transformers.AutoModelForSeq2SeqLM, auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, "tokens",
        lambda model, ids: model(input_ids=ids, decoder_input_ids=ids, use_cache=False, return_dict=True).logits,
    ),
    "masked": Task(
        transformers.AutoModelForMaskedLM, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, "tokens",
        lambda model, ids: model(input_ids=ids, return_dict=True).logits,
    ),
    "causal": Task(
        transformers.AutoModelForCausalLM, auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "tokens",
        lambda model, ids: model(input_ids=ids, use_cache=False, return_dict=True).logits,
    ),
    "pixels": Task(
        transformers.AutoModelForImageClassification, auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, "tensor",
        lambda model, pixels: model(pixel_values=pixels, return_dict=True).logits,
    ),
}


def task_of(config: PreTrainedConfig) -> Task:
    """Encoder-decoders, then encoders that fill in masked tokens, then decoders, then image classifiers.

    Many encoders are also listed as decoders; they are one only where the configuration says `is_decoder`.
    """
    family = config.model_type
    for name, task in TASKS.items():
        if family not in task.mapping and not (name == "causal" and "AutoModelForCausalLM" in getattr(config, "auto_map", {})):
            continue
        if name == "seq2seq" and not config.is_encoder_decoder:
            continue
        if name == "masked" and getattr(config, "is_decoder", False):
            continue
        return task
    raise ScriptError(f"{family}: neither a language model nor an image classifier that transformers knows")


def random_inputs(
    config: PreTrainedConfig, task: Task, batch: int, length: int, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Ids [batch, length] of the vocabulary, or pixels of the size that the model is made for (length is not used)."""
    generator = torch.Generator().manual_seed(length)
    if task.input == "tokens":
        return torch.randint(config.get_text_config().vocab_size, (batch, length), generator=generator)
    size = config.image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return torch.randn(batch, config.num_channels, height, width, generator=generator).to(dtype)


# Configuration keys that say how far attention reaches; a twin has them short.
LOCAL_SIZES = ("sliding_window", "attention_chunk_size", "window_size", "chunk_size", "local_attention")
# Keys that fix what a layer is by its number, with the value that shows every kind within a twin's few layers.
LAYER_KINDS = {
    "first_k_dense_replace": 1,
    "attention_types": [[["global", "local"], 1]],
    "interleave_moe_layer_step": 1,
}
# Sizes that do not touch attention; a twin has them small.
WIDTHS = {"intermediate_size": 96, "moe_intermediate_size": 48, "intermediate_size_mlp": 96, "ffn_dim": 96, "n_inner": 96,
          "ffn_hidden_size": 96, "d_ff": 96, "mlp_dim": 96}
