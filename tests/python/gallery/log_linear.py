"""Log-linear attention (Guo et al. 2025): linear attention whose past is cut into buckets of powers of two, each with a weight.

Query i sees the buckets of the Fenwick tree of i + 1; weights are unnormalised and may be negative: marked, rows free.
"""

import numpy as np
import torch
from sinkscope_export.operators import attention
from torch import nn

from gallery.account import Account, weights_of


def bucket_of(i, j):
    """Level of the bucket that holds key j for query i: its own position, then 1, 2, 4, ... positions back."""
    level, end = 0, i
    if j == i:
        return 0
    while True:
        size = end & -end
        level += 1
        if j >= end - size:
            return int(np.log2(size)) + 1
        end -= size


def buckets(length):
    return np.array([[bucket_of(i, j) if j <= i else 0 for j in range(length)] for i in range(length)])


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor([[1.0, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]]))
        self.register_buffer("bucket", torch.tensor(buckets(64)))

    def forward(self, q, k, v):
        level = self.level[:, self.bucket[: q.size(2), : q.size(2)]]  # [h, i, j]
        weights = attention((torch.matmul(q, k.transpose(-1, -2)) * level).tril(), "effective", False)
        return torch.matmul(weights, v)


def accounts(core, q, k, v):
    level = weights_of(core)["level"][:, buckets(q.shape[2])]
    return [Account(q @ k.swapaxes(-1, -2) * level * np.tri(q.shape[2]), free=True)]
