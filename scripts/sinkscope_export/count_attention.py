"""How many attention sites one run of a module or file has."""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class CountAttention(TorchDispatchMode):
    """Counts softmaxes over [..., Q, K] with as many keys as queries, or one more (a learned sink), and fused calls."""

    def __init__(self):
        super().__init__()
        self.sites = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.__name__
        if name.startswith("_scaled_dot_product"):
            self.sites += 1
        elif name.startswith("_softmax.") or name.startswith("_safe_softmax."):
            shape = arguments[0].shape
            self.sites += len(shape) >= 3 and shape[-1] - shape[-2] in (0, 1)
        return function(*arguments, **(keywords or {}))


def attention_sites(module: nn.Module, inputs: Tensor) -> int:
    with torch.no_grad(), CountAttention() as count:
        module(inputs)
    return count.sites
