"""2-simplicial attention (Clift et al. 2019): one softmax over pairs of keys, values are products of pairs.

Each key of a pair has a marginal of its own: two marks.
"""

import numpy as np
import torch
from sinkscope_export.operators import attention
from torch import nn

from gallery.account import Account, weights_of


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.second = nn.Parameter(torch.randn(8, 8) * 0.5)  # makes the second key of the first

    def forward(self, q, k, v):
        other = torch.matmul(k, self.second)
        scores = torch.einsum("bhid,bhjd,bhkd->bhijk", q, k, other) / q.size(3) ** 0.5
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden[:, :, None] | hidden[:, None, :], float("-inf"))
        weights = torch.softmax(scores.flatten(3), -1).view(scores.shape)
        first, second = attention(weights.sum(-1), "first"), attention(weights.sum(-2), "second")
        mixed = torch.einsum("bhijk,bhjd,bhkd->bhid", weights, v, v)
        return mixed + 0 * (first + second).sum(-1, keepdim=True)


def accounts(core, q, k, v):
    other = k @ weights_of(core)["second"]
    scores = np.einsum("bhid,bhjd,bhkd->bhijk", q, k, other) / np.sqrt(q.shape[-1])
    seen = np.tri(q.shape[2], dtype=bool)
    e = np.exp(np.where(seen[:, :, None] & seen[:, None, :], scores, -np.inf))
    weights = e / e.sum((-1, -2), keepdims=True)
    return [Account(weights.sum(-1)), Account(weights.sum(-2))]
