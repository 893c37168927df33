"""Transformer-XL: a second product with relative positions, shifted by reshaping, is added to the scores.

Keys are those of the content product, with its bias in the queries.
"""

import numpy as np
import torch
from torch import nn

from gallery.account import account, causal, softmax, weights_of


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.content, self.position = (nn.Parameter(torch.randn(2, 8)) for _ in range(2))
        self.distance = nn.Parameter(torch.randn(64, 2, 8) * 0.5)

    def forward(self, q, k, v):
        batch, heads, length, size = q.shape
        content = torch.einsum("bhid,bhjd->bhij", q + self.content[:, None], k)
        far_first = self.distance[:length].flip(0)  # [j, h, d], distance length - 1 first
        position = torch.einsum("bhid,jhd->bhij", q + self.position[:, None], far_first)
        padded = torch.cat([position.new_zeros(batch, heads, length, 1), position], -1)
        shifted = padded.view(batch, heads, length + 1, length)[:, :, 1:]
        scores = (content + shifted) / size**0.5
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
        return torch.einsum("bhij,bhjd->bhid", torch.softmax(scores.masked_fill(hidden, float("-inf")), -1), v)


def accounts(core, q, k, v):
    w, length = weights_of(core), q.shape[2]
    i, j = np.indices((length, length))
    relative = np.where((i >= j)[..., None, None], w["distance"][np.maximum(i - j, 0)], 0)  # [i, j, h, d]
    scores = (q + w["content"][:, None]) @ k.swapaxes(-1, -2)
    scores += np.einsum("bhid,ijhd->bhij", q + w["position"][:, None], relative)
    return [account(softmax(scores / np.sqrt(q.shape[-1]) + causal(length)), k, v)]
