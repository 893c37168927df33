"""Tracing a Hugging Face model to a TorchScript file, with the attention that was asked for or the family's own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .count_attention import attention_sites
from .families import Task, Wrapped, random_inputs
from .files import USAGE, ScriptError
from .fused_attention import Call, FusedAttention, Inexpressible
from .huggingface import first_line
from .model_file import write_model_file
from .plain_modules import plain_autograd_functions, plain_class_names, use_plain_experts

TRACE_LENGTHS = (11, 13, 17, 19, 23)


@dataclass(frozen=True)
class Attention:
    """name: fused, sdpa or eager; reason: why not fused, where that was wanted; calls: of one forward, where fused; sites:
    attention calls of any kind in one forward, where that has been run.
    """

    name: str
    reason: str | None = None
    calls: tuple[Call, ...] = ()
    sites: int | None = None

    @property
    def needs_operators(self) -> bool:
        """Whether the file can be loaded only where `sinkscope::` operators are registered."""
        return any(not call.plain for call in self.calls)


def trace_input(model: PreTrainedModel, task: Task) -> Tensor:
    """Batch 2 (batch 1 would be baked in) and a length that is no other size of the model."""
    sizes = {value for value in vars(model.config.get_text_config()).values() if isinstance(value, int)}
    length = next((length for length in TRACE_LENGTHS if length not in sizes), TRACE_LENGTHS[0])
    return random_inputs(model.config, task, 2, length, dtype=model.dtype)


def choose_attention(model: PreTrainedModel, task: Task, wanted: str) -> Attention:
    """Switches the model to the wanted attention if that says the same as its own; else to its own, with the reason."""
    if wanted != "fused":
        try:
            model.set_attn_implementation(wanted)
        except ValueError as error:
            raise ScriptError(f"{model.config.model_type} has no {wanted} attention: {first_line(error)}", USAGE) from None
        return Attention(wanted)
    fused = FusedAttention(model)
    reason = None
    try:
        sites = attention_sites(Wrapped(model, task.call), trace_input(model, task))
        if not fused.calls:
            reason = "the family does not go through transformers' attention interface"
    except Inexpressible as error:
        reason = str(error)
    except Exception as error:  # a family that computes with the mask itself, which is no tensor here
        reason = f"the family makes its masks itself ({first_line(error)})"
    if reason is None:
        fused.learned()
        return Attention("fused", calls=tuple(fused.calls), sites=sites)
    model.set_attn_implementation("eager")
    return Attention("eager", reason)


def write_traced(
    model: PreTrainedModel, task: Task, wanted: str, path: Path, metadata: Callable[[Attention], dict]
) -> Attention:
    """Traces and writes a model; what TorchScript cannot say is an error that names it."""
    use_plain_experts(model)
    attention = choose_attention(model, task, wanted)
    try:
        with torch.no_grad(), plain_autograd_functions(model), plain_class_names(model):
            traced = torch.jit.trace(Wrapped(model, task.call).eval(), trace_input(model, task), check_trace=False)
        content = metadata(attention)
        write_model_file(traced, content, path, packed=content.get("parameters") == "external")
    except ScriptError:
        raise
    except Exception as error:  # whatever a family's own code raises under tracing
        raise ScriptError(f"{model.config.model_type} cannot be exported to TorchScript: {first_line(error)}") from None
    return attention
