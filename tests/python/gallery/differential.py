"""Differential attention (Ye et al. 2024): one map minus lambda times another; weights may be negative, rows sum to 1 - lambda.

The difference is what reaches the values, so it is marked.
"""

import torch
from sinkscope_export.operators import attention
from torch import nn

from gallery.account import Account, causal, dot, softmax, weights_of


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.4))

    def forward(self, q, k, v):
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1)
        maps = []
        for a, b in zip(q.chunk(2, -1), k.chunk(2, -1)):
            scores = torch.matmul(a, b.transpose(-1, -2)) / a.size(3) ** 0.5
            maps.append(torch.softmax(scores.masked_fill(hidden, float("-inf")), -1))
        return torch.matmul(attention(maps[0] - self.share * maps[1], "difference", False), v)


def accounts(core, q, k, v):
    first, second = (softmax(dot(q[..., s], k[..., s]) + causal(q.shape[2])) for s in (slice(0, 4), slice(4, 8)))
    return [Account(first - weights_of(core)["share"] * second, free=True)]
