"""Graph-only model files: the trace of a module whose parameters are single elements, expanded (docs/weights.md)."""

from pathlib import Path

import toys
import torch
from safetensors.torch import save_file
from torch import nn


def hollow(module: nn.Module) -> nn.Module:
    """Replaces every parameter by a stride-0 one; tied parameters stay one."""
    placeholders = {}
    for child in module.modules():
        for name, parameter in child._parameters.items():
            if parameter is not None:
                empty = nn.Parameter(torch.zeros(1, dtype=parameter.dtype).expand(parameter.shape), requires_grad=False)
                child._parameters[name] = placeholders.setdefault(id(parameter), empty)
    return module


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone().contiguous() for name, p in module.named_parameters()}


def write_pair(module: nn.Module, folder: Path, **metadata) -> tuple[Path, Path, Path]:
    """The stored model, the graph alone, and the weights: (stored.pt, graph.pt, model.safetensors) in `folder`."""
    folder.mkdir(exist_ok=True)
    stored = toys.write(module, folder / "stored.pt", metadata=metadata or None)
    save_file(tensors_of(module), folder / "model.safetensors")
    graph = toys.write(hollow(module), folder / "graph.pt", metadata=metadata or None)
    return stored, graph, folder / "model.safetensors"
