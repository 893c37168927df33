"""Linformer (Wang et al. 2020): keys and values are projected along the sequence, so key 0 is a mixture and no token.

The site has kind `cross`: what its keys are, the sequence does not say.
"""

import torch
from torch import nn

from gallery.account import account, dot, softmax, weights_of

KIND = "cross"
MASK = "none"


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.keys, self.values = (nn.Parameter(torch.randn(5, 64) * 0.5) for _ in range(2))

    def forward(self, q, k, v):
        key = torch.matmul(self.keys[:, : k.size(2)], k)
        value = torch.matmul(self.values[:, : v.size(2)], v)
        scores = torch.einsum("bhid,bhjd->bhij", q, key) / q.size(3) ** 0.5
        return torch.einsum("bhij,bhjd->bhid", torch.softmax(scores, -1), value)


def accounts(core, q, k, v):
    w, length = weights_of(core), q.shape[2]
    key, value = w["keys"][:, :length] @ k, w["values"][:, :length] @ v
    return [account(softmax(dot(q, key)), key, value)]
