"""Whether an exported file says what its model says: logits at other shapes, and the number of attention sites.

A file is compared with the model it was made from, where that has weights; and a small random twin of the configuration goes
through the same export, its weights put back through the weight map, because real weights may hide what a random twin shows
(windows beyond the check's length) and small random ones hide soft caps and sinks. The twin is also compared at a long length,
because a trace keeps the branch that a short sequence took.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from . import huggingface
from .count_attention import attention_sites
from .families import LOCAL_SIZES, PREFIX, Task, Wrapped, random_inputs
from .files import ScriptError
from .fused_attention import positions_of
from .trace import write_traced
from .twin import SCALED_FROM, first_positions, twin_of
from .weight_map import Recipe, checkpoint_shapes, made, weight_map

LONGEST_CHECK = 2048  # tokens; eager attention of a longer check would need more memory than the model
FLOAT32_TOLERANCE = 1e-4  # of the largest |logit|; a feature that got lost shows as .01 to 1


class Mismatch(ScriptError):
    """An exported file does not say what its model says."""


@dataclass(frozen=True)
class Check:
    """error: difference of the logits; largest: the largest |logit|; allowed: what the error may be."""

    subject: str
    shape: tuple[int, ...]
    error: float
    largest: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.error <= self.allowed  # false for NaN too

    def __str__(self) -> str:
        shape = f"batch {self.shape[0]}, " + (f"length {self.shape[1]}" if len(self.shape) == 2 else f"pixels {self.shape[1:]}")
        return (f"self-check of {self.subject}, {shape}: logits differ by {self.error:.1e} from the original"
                f" (largest {self.largest:.3g}, allowed {self.allowed:.1e})")


def check_shapes(config: PreTrainedConfig, positions: int | None) -> list[tuple[int, int]]:
    """Two (batch, length) pairs unlike the traced one; the second is longer than any window or chunk where feasible."""
    text = config.get_text_config()
    longest = min(positions or LONGEST_CHECK, LONGEST_CHECK)
    local = [getattr(text, name, None) for name in LOCAL_SIZES]
    needed = max([61, *(size + 13 for size in local if isinstance(size, int))])
    return [(3, min(29, longest)), (1, min(needed, longest))]


def cause_of(error: RuntimeError) -> str:
    """The last telling line of what TorchScript says: the cause stands behind its traceback, at times as a bare name."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line and not line.endswith("Error:")), type(error).__name__)


def _typical(found: Tensor, reference: Tensor) -> float:
    """Median over tokens of the largest difference: in 16 bit a router's choice may flip at a token or two."""
    return float((found - reference).abs().amax(dim=-1).median())


def compare(subject: str, file: nn.Module, original: PreTrainedModel, task: Task) -> list[Check]:
    """Compares a loaded file with a model and its eager attention at two shapes; changes the model.

    In 16 bit the file may err at most twice as much as the original does, both against the original in float32.
    """
    original.set_attn_implementation("eager")
    original.set_experts_implementation("eager")
    wrapped, dtype = Wrapped(original, task.call).eval(), original.dtype
    shapes = check_shapes(original.config, positions_of(original))
    inputs = [random_inputs(original.config, task, *shape, dtype=dtype) for shape in shapes]
    with torch.no_grad():
        try:  # some families' graphs hold the length that they were traced at
            counted = [attention_sites(module, inputs[0]) for module in (file, wrapped)]
            found_outputs = [file(values).float() for values in inputs]
        except RuntimeError as error:
            raise Mismatch(f"{subject} fails at another length than that of its trace: {cause_of(error)}") from None
        if counted[0] != counted[1] or not counted[0]:
            raise Mismatch(f"{subject} has {counted[0]} attention sites, the original {counted[1]}")
        outputs = [(found, wrapped(values).float()) for found, values in zip(found_outputs, inputs, strict=True)]
        if dtype != torch.float32:
            original.float()
        checks = []
        for values, (found, eager) in zip(inputs, outputs, strict=True):
            shape = tuple(values.shape)
            if dtype == torch.float32:
                largest = float(eager.abs().max())
                checks.append(Check(subject, shape, float((found - eager).abs().max()), largest, FLOAT32_TOLERANCE * largest))
                continue
            exact = wrapped(values.float() if values.is_floating_point() else values)
            largest = float(exact.abs().max())
            checks.append(Check(subject, shape, _typical(found, exact), largest, 2 * _typical(eager, exact)))
    return checks


def fill(module: torch.jit.ScriptModule, recipes: dict[str, Recipe], tensors: dict[str, Tensor]) -> None:
    """Puts a checkpoint's tensors into a loaded graph, as `measure --weights` does."""
    for name, recipe in recipes.items():
        path, _, leaf = name.rpartition(".")
        owner = module
        for part in path.split("."):
            owner = getattr(owner, part)
        setattr(owner, leaf, nn.Parameter(made(recipe, tensors).contiguous(), requires_grad=False))


def compare_long(file: nn.Module, config: PreTrainedConfig, task: Task, length: int) -> Check | None:
    """Compares a twin's file with a twin that has seen no other sequence, by the median token: a router's choice may flip.

    None where the twin itself cannot run so long a sequence: some configurations do not say what bounds it.
    """
    twin = twin_of(config, task)
    twin.set_experts_implementation("eager")
    inputs = random_inputs(twin.config, task, 1, length)
    with torch.no_grad():
        try:
            eager = Wrapped(twin, task.call)(inputs)
        except Exception:
            return None
        try:
            found = file(inputs)
        except RuntimeError as error:
            raise Mismatch(f"the file of a small random twin fails at {length} tokens: {huggingface.first_line(error)}") from None
    largest = float(eager.abs().max())
    return Check("a small random twin", tuple(inputs.shape), _typical(found, eager), largest, FLOAT32_TOLERANCE * largest)


def check_lengths(file: nn.Module, config: PreTrainedConfig, task: Task, positions: int | None) -> tuple[list[Check], int | None]:
    """Checks at the longest affordable length, and the bound on sequences where only positions are scaled otherwise there."""
    if task.input != "tokens":
        return [], None
    check = compare_long(file, config, task, min(positions or LONGEST_CHECK, LONGEST_CHECK))
    if check is None:
        return [], None
    bound = None if check.ok else first_positions(config)
    if bound is None or check.shape[1] <= SCALED_FROM:
        return [check], None
    shorter = compare_long(file, config, task, min(bound, SCALED_FROM))
    return [shorter or check], bound


def check_twin(config: PreTrainedConfig, task: Task, wanted: str, *, graph_only: bool) -> tuple[list[Check], int | None]:
    """Exports the configuration's twin the same way, fills the file through its weight map and compares it.

    Also returns the longest sequence for which a file holds, where it holds for short ones only.
    """
    twin = twin_of(config, task)
    huggingface.parameters_of_buffers(twin)
    tensors = revert_weight_conversion(twin, {n: t for n, t in twin.state_dict().items() if n not in twin.all_tied_weights_keys})
    recipes = weight_map(twin, checkpoint_shapes(twin), PREFIX)
    source = twin
    if graph_only:
        source = huggingface.graph_only_model(twin.config, task, torch.float32)
        huggingface.parameters_of_buffers(source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twin.pt"
        write_traced(source, task, wanted, path, lambda attention: {})
        file = torch.jit.load(str(path), map_location="cpu")
    fill(file, recipes, tensors)
    checks = compare("a small random twin", file, twin, task)
    long_checks, bound = check_lengths(file, config, task, positions_of(twin))
    return checks + long_checks, bound
