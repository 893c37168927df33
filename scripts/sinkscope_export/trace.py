"""Tracing a causal language model to TorchScript, and checking that the trace says what the model says."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .files import ScriptError
from .fused_attention import FusedAttention, Inexpressible, positions_of
from .model_file import write_model_file

PREFIX = "m."  # what the wrapper below puts before every parameter name
TRACE_LENGTHS = (11, 13, 17, 19, 23)
LONGEST_CHECK = 2048  # tokens; eager attention of a longer check would need more memory than the model
FLOAT32_TOLERANCE = 1e-4  # of the largest |logit|; a feature that got lost shows as .01 to 1


class LogitsOnly(torch.nn.Module):
    """Token ids [B, T] int64 -> logits [B, T, V]."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.m = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.m(input_ids=ids, use_cache=False, return_dict=True).logits


def random_ids(model: PreTrainedModel, batch: int, length: int) -> Tensor:
    vocabulary = model.config.get_text_config().vocab_size
    return torch.randint(vocabulary, (batch, length), generator=torch.Generator().manual_seed(length))


def choose_attention(model: PreTrainedModel, wanted: str) -> tuple[str, str | None]:
    """Switches the model to fused attention if that is wanted and says the same; returns the choice and why not fused."""
    if wanted == "eager":
        return "eager", None
    fused = FusedAttention(model)
    try:
        with torch.no_grad():
            LogitsOnly(model)(random_ids(model, 2, TRACE_LENGTHS[0]))
        reason = None if fused.calls else "the family does not go through transformers' attention interface"
    except Inexpressible as error:
        reason = str(error)
    if reason is None:
        return "fused", None
    model.set_attn_implementation("eager")
    return "eager", reason


def write_traced(model: PreTrainedModel, metadata: dict, path: Path) -> None:
    """Traces and writes a model; what TorchScript cannot say is an error that names it."""
    try:
        write_model_file(_trace(model), metadata, path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ScriptError(f"{model.config.model_type} cannot be exported to TorchScript: {reason}") from None


def _trace(model: PreTrainedModel) -> torch.jit.ScriptModule:
    """Traces with batch 2 (batch 1 would be baked in) and a length that is no other size of the model."""
    sizes = {value for value in vars(model.config.get_text_config()).values() if isinstance(value, int)}
    length = next((length for length in TRACE_LENGTHS if length not in sizes), TRACE_LENGTHS[0])
    with torch.no_grad():
        return torch.jit.trace(LogitsOnly(model).eval(), random_ids(model, 2, length), check_trace=False)


def check_shapes(model: PreTrainedModel) -> list[tuple[int, int]]:
    """Two (batch, length) pairs unlike the traced one; the second is longer than any window or chunk where feasible."""
    config = model.config.get_text_config()
    longest = min(positions_of(model) or LONGEST_CHECK, LONGEST_CHECK)
    local = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    needed = max([61, *(size + 13 for size in local if isinstance(size, int))])
    return [(3, min(29, longest)), (1, min(needed, longest))]


@dataclass(frozen=True)
class Check:
    """error: largest |difference| of a logit; largest: the largest |logit|; allowed: what the error may be."""

    batch: int
    length: int
    error: float
    largest: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.error <= self.allowed  # false for NaN too

    def __str__(self) -> str:
        return (f"batch {self.batch}, length {self.length}: logits differ by {self.error:.1e} from the original"
                f" (largest {self.largest:.3g}, allowed {self.allowed:.1e})")


@torch.no_grad()
def self_check(file: Path, model: PreTrainedModel) -> list[Check]:
    """Compares a written model file with the original and its eager attention, at two shapes; changes the model.

    In 16 bit the file may err at most twice as much as the original does, both against the original in float32.
    """
    traced = torch.jit.load(str(file), map_location="cpu")
    model.set_attn_implementation("eager")
    original = LogitsOnly(model)
    inputs = [random_ids(model, batch, length) for batch, length in check_shapes(model)]
    outputs = [(traced(ids).float(), original(ids).float()) for ids in inputs]
    del traced
    narrow = model.dtype != torch.float32
    if narrow:
        model.float()
    checks = []
    for ids, (found, eager) in zip(inputs, outputs, strict=True):
        reference = original(ids) if narrow else eager
        largest = float(reference.abs().max())
        allowed = 2 * float((eager - reference).abs().max()) if narrow else FLOAT32_TOLERANCE * largest
        checks.append(Check(*ids.shape, float((found - reference).abs().max()), largest, allowed))
    return checks


def count_fused(file: Path, layers: int | None) -> int:
    """Counts the fused attention nodes of a written model file; another number than the layers is an error."""
    graph = torch.jit.load(str(file), map_location="cpu").inlined_graph
    count = len(graph.findAllNodes("aten::scaled_dot_product_attention", recurse=True))
    if layers is not None and count != layers:
        raise ScriptError(f"the graph has {count} fused attention nodes for {layers} layers; use --attention eager")
    return count
