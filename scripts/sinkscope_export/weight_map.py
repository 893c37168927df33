"""Which tensors of a checkpoint make which parameter, as transformers' own conversion does it when it loads.

Families rename, stack, concatenate and split what their checkpoints hold. Here that conversion runs on tensors without data
that write down what is done to them, so nothing about a family has to be known.
"""

import re
from copy import deepcopy

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter, WeightRenaming, dot_natural_key, rename_source_key, revert_weight_conversion,
)

from .files import ScriptError

Recipe = str | dict  # a tensor's name, or {"op", "dim", "of", ...} as in docs/export.md


class Recorded(Tensor):
    """A tensor on the meta device that knows how it comes from the tensors of a checkpoint."""

    recipe: Recipe | None

    @staticmethod
    def named(name: str, shape) -> "Recorded":
        tensor = torch.empty(tuple(shape), device="meta").as_subclass(Recorded)
        tensor.recipe = name
        return tensor

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        result = super().__torch_function__(function, types, arguments, keywords)
        record = _RECORDERS.get(getattr(function, "__name__", ""))
        if record is None or not isinstance(result, (Tensor, tuple, list)):
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(tensor, Recorded):
                    tensor.recipe = None  # something that the program cannot do
            return result
        record(result, *arguments, **keywords)
        return result


def _recipe(tensor: Tensor) -> Recipe:
    recipe = getattr(tensor, "recipe", None)
    if recipe is None:
        raise ScriptError("the checkpoint is converted in a way that a weight map cannot say; export with the weights")
    return recipe


def _same(result: Tensor, tensor: Tensor, *_, **__) -> None:
    result.recipe = _recipe(tensor)


def _joined(op: str):
    def record(result: Tensor, tensors, dim: int = 0) -> None:
        result.recipe = {"op": op, "dim": dim % result.dim(), "of": [_recipe(tensor) for tensor in tensors]}

    return record


def _pieces(result, tensor: Tensor, _=None, dim: int = 0, **__) -> None:
    dim, start = dim % tensor.dim(), 0
    for piece in result:
        end = start + piece.shape[dim]
        piece.recipe = {"op": "slice", "dim": dim, "start": start, "end": end, "of": [_recipe(tensor)]}
        start = end


def _transposed(result: Tensor, tensor: Tensor, dim0: int, dim1: int) -> None:
    dims = sorted((dim0 % tensor.dim(), dim1 % tensor.dim()))
    result.recipe = {"op": "transpose", "dims": dims, "of": [_recipe(tensor)]}


def _reshaped(result: Tensor, tensor: Tensor, *_, **__) -> None:
    result.recipe = {"op": "reshape", "shape": list(result.shape), "of": [_recipe(tensor)]}


_RECORDERS = {
    "contiguous": _same, "detach": _same, "clone": _same,
    "stack": _joined("stack"), "cat": _joined("concat"),
    "chunk": _pieces, "split": _pieces, "transpose": _transposed,
    "reshape": _reshaped, "view": _reshaped, "squeeze": _reshaped, "unsqueeze": _reshaped, "flatten": _reshaped,
}


def checkpoint_shapes(model: PreTrainedModel) -> dict[str, list[int]]:
    """Name -> shape of the tensors that `save_pretrained` would write, for a model without a checkpoint at hand."""
    tied = set(model.all_tied_weights_keys)
    state = {name: torch.empty(tensor.shape, device="meta") for name, tensor in model.state_dict().items() if name not in tied}
    return {name: list(tensor.shape) for name, tensor in revert_weight_conversion(model, state).items()}


def weight_map(model: PreTrainedModel, shapes: dict[str, list[int]], prefix: str) -> dict[str, Recipe]:
    """Graph parameter name -> how it is made of the checkpoint's tensors; tied parameters have the same recipe.

    Raises ScriptError for a parameter that the checkpoint does not give.
    """
    state = model.state_dict()
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    gathered: dict[str, WeightRenaming | WeightConverter] = {}
    for name in sorted(shapes, key=dot_natural_key):
        target, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, state)
        if target not in state and name in state:
            target, pattern = name, None
        if target not in state:
            continue  # of no use to this model, like the masks that old checkpoints hold
        rule = gathered.setdefault(target, deepcopy(by_pattern[pattern]) if pattern else WeightRenaming(name, target))
        rule.add_tensor(target, name, pattern or name, Recorded.named(name, shapes[name]))
    found: dict[str, Recipe] = {}
    for first, rule in gathered.items():
        for target, tensor in rule.convert(first, model=model, config=model.config).items():
            found[target] = _recipe(tensor[0] if isinstance(tensor, list) else tensor)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    by_identity = {id(parameters[name]): recipe for name, recipe in found.items() if name in parameters}
    absent = [name for name, parameter in parameters.items() if id(parameter) not in by_identity]
    if absent:
        raise ScriptError(f"the weight map lacks {', '.join(absent[:5])}")
    return {prefix + name: found.get(name, by_identity[id(parameter)]) for name, parameter in parameters.items()}


def ignored_tensors(model: PreTrainedModel) -> list[str]:
    """Regular expressions, each to be found in a name, of the tensors that a checkpoint may hold in excess.

    Without those that only Python understands (look-behind, named groups and flags).
    """
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return sorted(pattern for pattern in patterns if pattern and not re.search(r"\(\?[^:=!]", pattern))


def made(recipe: Recipe, tensors: dict[str, Tensor]) -> Tensor:
    """The parameter that a recipe makes of a checkpoint's tensors."""
    if isinstance(recipe, str):
        return tensors[recipe]
    of = [made(part, tensors) for part in recipe["of"]]
    match recipe["op"]:
        case "stack":
            return torch.stack(of, recipe["dim"])
        case "concat":
            return torch.cat(of, recipe["dim"])
        case "transpose":
            return of[0].transpose(*recipe["dims"])
        case "reshape":
            return of[0].reshape(recipe["shape"])
        case _:
            return of[0].narrow(recipe["dim"], recipe["start"], recipe["end"] - recipe["start"])
