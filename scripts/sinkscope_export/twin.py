"""A small random twin of a configuration: the same attention, few layers, weights large enough that every feature matters.

With the library's own initialisation attention is nearly uniform, and an exporter that loses a window, a soft cap or a sink
goes unnoticed. Windows and chunks of a twin are short, so that a short sequence crosses them.
"""

from copy import deepcopy

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from . import huggingface
from .families import LAYER_KINDS, LOCAL_SIZES, WIDTHS, Task, Wrapped, random_inputs
from .files import ScriptError

LOCAL = 16  # longest window or chunk of a twin
VOCABULARY = 256
FIRST_POSITIONS = "original_max_position_embeddings"
SCALED_FROM = 256  # positions of a twin from which they are scaled, where a configuration says from which
SMALL = 20_000_000  # parameters; a configuration below that is its own twin but for windows, chunks and vocabulary


def layers_to_keep(config: PreTrainedConfig) -> int:
    """The first layers that show every kind of layer: two at least, and one of each value of the per-layer lists."""
    layers = config.num_hidden_layers
    keep = 2
    for value in vars(config).values():
        if isinstance(value, list) and len(value) == layers:
            keep = max(keep, *(1 + value.index(kind) for kind in value))
    return min(keep, layers)


def _set(config: PreTrainedConfig, name: str, value) -> None:
    if getattr(config, name, None) is not None:
        setattr(config, name, value)


def _scalings(config: PreTrainedConfig) -> list[dict]:
    """Where a configuration says from which length on positions are scaled in another way."""
    rope = getattr(config, "rope_parameters", None) or {}
    found = [vars(config), *([rope] if "rope_type" in rope else rope.values())]
    return [values for values in found if isinstance(values, dict) and isinstance(values.get(FIRST_POSITIONS), int)]


def first_positions(config: PreTrainedConfig) -> int | None:
    """The longest sequence whose positions are scaled as those of short ones; None where all are."""
    return min((values[FIRST_POSITIONS] for values in _scalings(config.get_text_config())), default=None)


def _shortened(config: PreTrainedConfig) -> PreTrainedConfig:
    """Windows, chunks, vocabulary and special ids of a twin."""
    config = deepcopy(config)
    for values in _scalings(config.get_text_config()):
        values[FIRST_POSITIONS] = min(values[FIRST_POSITIONS], SCALED_FROM)
    for part in {id(part): part for part in (config, config.get_text_config())}.values():
        for name in LOCAL_SIZES:
            if isinstance(getattr(part, name, None), int):
                setattr(part, name, min(getattr(part, name), LOCAL))
        if isinstance(getattr(part, "vocab_size", None), int):
            part.vocab_size = min(part.vocab_size, VOCABULARY)
            for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
                if isinstance(getattr(part, name, None), (int, list)):
                    token = getattr(part, name)
                    setattr(part, name, token if isinstance(token, int) and token < part.vocab_size else 0)
        part.dtype = torch.float32
    return config


def _fewer_heads(config: PreTrainedConfig) -> None:
    """At most two KV heads, as many query heads for each as before, of the same size."""
    heads, kv_heads = config.num_attention_heads, getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    if heads % kv_heads or config.hidden_size % heads:
        return
    kept = min(2, kv_heads)
    width = config.hidden_size // heads * (heads // kv_heads) * kept
    if hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads = kept
    config.num_attention_heads, config.hidden_size = heads // kv_heads * kept, width


def _narrowed(config: PreTrainedConfig) -> PreTrainedConfig:
    """Fewer layers and smaller feed-forward parts."""
    config = _shortened(config)
    text = config.get_text_config()
    layers, keep = text.num_hidden_layers, layers_to_keep(text)
    for name, value in LAYER_KINDS.items():
        _set(text, name, value)
    for name, value in vars(text).items():
        if isinstance(value, list) and len(value) == layers:
            setattr(text, name, value[:keep])
    for name in {"num_hidden_layers", "num_decoder_layers", "num_layers", "n_layer"}:
        _set(text, name, keep)
    for name, width in WIDTHS.items():
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, min(getattr(text, name), width))
    _fewer_heads(text)
    # Through the constructor again: some configurations derive one key from another there.
    content = config.to_dict()
    again = type(config).from_dict(content)
    again.name_or_path = config.name_or_path  # where code that the model brings is found
    return again


def enlarge(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """Random weights that make attention logits of several units, and no two elements of a norm or bias alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(0.3 * noise)
            else:
                fan_in = min(parameter.shape[-2:])
                parameter.copy_(1.5 / fan_in**0.5 * noise)
    return model


def twin_of(config: PreTrainedConfig, task: Task) -> PreTrainedModel:
    """The twin in float32 with its family's own eager attention."""
    candidates = []
    with torch.device("meta"):
        size = sum(p.numel() for p in huggingface.random_model(deepcopy(config), task, torch.float32, 0).parameters())
    if size > SMALL:
        candidates.append(_narrowed)
    candidates.append(_shortened)
    problem = "no twin"
    for change in candidates:
        try:
            twin = enlarge(huggingface.random_model(change(config), task, torch.float32, seed=0))
            with torch.no_grad():  # a copy: some families change themselves when they see a short sequence
                Wrapped(deepcopy(twin), task.call)(random_inputs(twin.config, task, 2, 3))
            return twin
        except Exception as error:  # a family whose numbers depend on each other in ways not known here
            problem = huggingface.first_line(error)
    raise ScriptError(f"{config.model_type}: no small twin of the configuration to check the export with: {problem}")
