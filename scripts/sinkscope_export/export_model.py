"""From a configuration, with or without weights, to a checked model file. Importing this takes seconds."""

import argparse
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from . import huggingface
from .count_attention import attention_sites
from .families import PREFIX, Task, Wrapped, task_of
from .files import ScriptError, read_json, usage_error
from .fused_attention import positions_of
from .self_check import Check, Mismatch, check_twin, compare
from .sites_found import check_sites
from .trace import Attention, trace_input, write_traced
from .weight_map import checkpoint_shapes, ignored_tensors, weight_map

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
    return config, replace(task_of(config), trust_remote_code=arguments.trust_remote_code)


def _model(arguments: argparse.Namespace, config: PreTrainedConfig, task: Task) -> PreTrainedModel:
    dtype = huggingface.DTYPES.get(arguments.dtype)
    if arguments.graph_only:
        kept = config.dtype or (huggingface.stored_dtype(arguments.directory) if arguments.directory else None)
        return huggingface.graph_only_model(config, task, dtype or kept)
    if arguments.random_init:
        return huggingface.random_model(config, task, dtype, arguments.seed)
    return huggingface.load_model(arguments.directory, config, task, dtype)


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


def check_sample_lengths(samples: list[list[int]], positions: int | None) -> None:
    longest = max(map(len, samples), default=0)
    if positions and longest > positions:
        raise usage_error(f"a sample has {longest} tokens, the model {positions} positions; lower --length")


def _check(checks: list[Check]) -> None:
    """Says what was compared. Raises Mismatch."""
    for check in checks:
        print(check, file=sys.stderr)
    if not all(check.ok for check in checks):
        raise Mismatch("the exported model does not give the original's logits")


def _export(arguments: argparse.Namespace, wanted: str, config: PreTrainedConfig, task: Task, metadata: dict, path: Path) -> str:
    model = _model(arguments, config, task)
    huggingface.parameters_of_buffers(model)
    positions = positions_of(model)
    check_sample_lengths(metadata["samples"], positions)
    recipes = _weight_map(arguments, model)
    checks, bound = check_twin(config, task, wanted, graph_only=arguments.graph_only)
    _check(checks)
    if bound is not None:
        print(f"note: positions beyond {bound} are scaled otherwise, which a trace cannot hold: no longer sequence is measured",
              file=sys.stderr)
        positions = min(positions or bound, bound)
        check_sample_lengths(metadata["samples"], positions)
    values = huggingface.config_dictionary(model.config)
    written = read_json(huggingface.config_file(arguments.directory or arguments.config))
    content = {
        "family": config.model_type,
        "config": values,
        "config_defaults": huggingface.absent_values(model.config, written),
        "config_written": huggingface.written_otherwise(values, written),
        "vocabulary": getattr(config.get_text_config(), "vocab_size", None),
        "positions": positions,
        "dtype": huggingface.dtype_name(model.dtype),
        "input": task.input,
        **metadata,
        "weight_map": recipes,
        "ignored_tensors": ignored_tensors(model),
        "parameters": "external" if arguments.graph_only else "stored",
    }

    def complete(attention: Attention) -> dict:
        versions = {"transformers": transformers.__version__, "torch": torch.__version__, "attention": attention.name}
        content["attention_sites"] = attention.sites or attention_sites(Wrapped(model, task.call), trace_input(model, task))
        return content | {"exporter": versions | ({"operators": OPERATORS} if attention.needs_operators else {})}

    attention = write_traced(model, task, wanted, path, complete)
    if attention.reason:
        print(f"note: attention is exported as the family's own (eager): {attention.reason}", file=sys.stderr)
    if not arguments.graph_only:
        _check(compare("the file", torch.jit.load(str(path), map_location="cpu"), model, task))
    check_sites(path, content["attention_sites"])
    parameters = "graph only" if arguments.graph_only else f"{len(metadata['samples'])} samples"
    return f"{config.model_type}, {content['dtype']}, {attention.name} attention, {parameters}"


def export(arguments: argparse.Namespace, config: PreTrainedConfig, task: Task, metadata: dict, path: Path) -> str:
    """Writes the model file and checks it; returns a line about it. Raises ScriptError, and then `path` is worth nothing."""
    kinds = ["fused", "eager"] if arguments.attention == "fused" else [arguments.attention]
    for wanted in kinds:
        try:
            return _export(arguments, wanted, config, task, metadata, path)
        except Mismatch as error:
            problem = str(error)
        if wanted != kinds[-1]:  # out of the handler, which holds the model, and with a new one, which no check has changed
            print(f"note: attention is exported as the family's own (eager): with fused attention {problem}", file=sys.stderr)
    raise ScriptError(f"{problem}; nothing was written")
