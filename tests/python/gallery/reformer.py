"""Reformer (Kitaev et al. 2020), written out: shared queries and keys, a query sees earlier keys of its own hash bucket.

Itself it sees only where nothing else is there, so a sink can only be the first token of a bucket.
"""

import numpy as np
import torch
from torch import nn

from gallery.account import account, softmax, weights_of

MASK = "other"


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.rotation = nn.Parameter(torch.randn(8, 2))

    def forward(self, q, k, v):
        key = q / q.norm(dim=-1, keepdim=True)
        turned = torch.matmul(q, self.rotation)
        bucket = torch.cat([turned, -turned], -1).argmax(-1)  # [b, h, t]
        position = torch.arange(q.size(2))
        scores = torch.matmul(q, key.transpose(-1, -2)) / q.size(3) ** 0.5
        apart = (bucket[..., :, None] != bucket[..., None, :]) | (position[None, :] > position[:, None])
        scores = scores.masked_fill(position[:, None] == position[None, :], -1e5).masked_fill(apart, float("-inf"))
        return torch.matmul(torch.softmax(scores, -1), v)


def accounts(core, q, k, v):
    key = q / np.linalg.norm(q, axis=-1, keepdims=True)
    turned = q @ weights_of(core)["rotation"]
    bucket = np.concatenate([turned, -turned], -1).argmax(-1)
    scores = q @ key.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    scores = np.where(np.eye(q.shape[2], dtype=bool), -1e5, scores)
    scores = np.where(bucket[..., :, None] == bucket[..., None, :], scores, -np.inf) + np.where(np.tri(q.shape[2]) > 0, 0, -np.inf)
    return [account(softmax(scores), key, v)]
