"""From a configuration, with or without weights, to a checked model file. Importing this takes seconds."""

import argparse
import sys
import warnings
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from . import huggingface
from .families import PREFIX, Task, task_of
from .files import ScriptError
from .fused_attention import positions_of
from .self_check import check_twin, compare
from .trace import Attention, write_traced
from .weight_map import checkpoint_shapes, weight_map

OPERATORS = 1  # version of the schemas in operators.py


def quiet() -> None:
    """Silences what the libraries say about tracing."""
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # jit reads deprecated properties
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def configuration(arguments: argparse.Namespace) -> tuple[PreTrainedConfig, Task]:
    config = huggingface.load_config(arguments.directory or arguments.config, trust_remote_code=arguments.trust_remote_code)
    return config, task_of(config)


def _model(arguments: argparse.Namespace, config: PreTrainedConfig, task: Task) -> PreTrainedModel:
    dtype = huggingface.DTYPES.get(arguments.dtype)
    if arguments.graph_only:
        kept = config.dtype or (huggingface.stored_dtype(arguments.directory) if arguments.directory else None)
        return huggingface.graph_only_model(config, task, dtype or kept)
    if arguments.random_init:
        return huggingface.random_model(config, task, dtype, arguments.seed)
    return huggingface.load_model(arguments.directory, config, task, dtype, trust_remote_code=arguments.trust_remote_code)


def _shapes(arguments: argparse.Namespace, model: PreTrainedModel) -> dict[str, list[int]]:
    """The tensors of the checkpoint at hand, or those that one of this model would have."""
    if arguments.directory and not (arguments.graph_only and not list(arguments.directory.glob("*.safetensors"))):
        return huggingface.tensor_shapes(arguments.directory)
    return checkpoint_shapes(model)


def _weight_map(arguments: argparse.Namespace, model: PreTrainedModel) -> dict:
    try:
        return weight_map(model, _shapes(arguments, model), PREFIX)
    except ScriptError as error:
        if arguments.graph_only:
            raise
        print(f"note: the file has no weight map: {error}", file=sys.stderr)
        return {}


def export(arguments: argparse.Namespace, config: PreTrainedConfig, task: Task, metadata: dict, path: Path) -> str:
    """Writes the model file and checks it; returns a line about it. Raises ScriptError, and then `path` is worth nothing."""
    model = _model(arguments, config, task)
    huggingface.parameters_of_buffers(model)
    recipes = _weight_map(arguments, model)
    content = {
        "family": config.model_type,
        "config": huggingface.config_dictionary(model.config),
        "vocabulary": getattr(config.get_text_config(), "vocab_size", None),
        "positions": positions_of(model),
        "dtype": huggingface.dtype_name(model.dtype),
        "input": task.input,
        **metadata,
        "weight_map": recipes,
        "parameters": "external" if arguments.graph_only else "stored",
    }

    def complete(attention: Attention) -> dict:
        versions = {"transformers": transformers.__version__, "torch": torch.__version__, "attention": attention.name}
        return content | {"exporter": versions | ({"operators": OPERATORS} if attention.needs_operators else {})}

    attention = write_traced(model, task, arguments.attention, path, complete)
    if attention.reason:
        print(f"note: attention is exported as the family's own (eager): {attention.reason}", file=sys.stderr)
    checks = check_twin(config, task, arguments.attention, graph_only=arguments.graph_only)
    if not arguments.graph_only:
        checks += compare("the file", torch.jit.load(str(path), map_location="cpu"), model, task)
    for check in checks:
        print(check, file=sys.stderr)
    if not all(check.ok for check in checks):
        raise ScriptError("the exported model does not give the original's logits; nothing was written")
    parameters = "graph only" if arguments.graph_only else f"{len(metadata['samples'])} samples"
    return f"{config.model_type}, {content['dtype']}, {attention.name} attention, {parameters}"
