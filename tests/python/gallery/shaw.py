"""Relative position representations (Shaw et al. 2018): q R[i - j] is added to the scores; keys are those of the content."""

import numpy as np
import torch
from torch import nn

from gallery.account import account, causal, softmax, weights_of

CLIP = 4


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.relative = nn.Embedding(CLIP + 1, 8)

    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        table = self.relative((position[:, None] - position[None, :]).clamp(0, CLIP))  # [i, j, d]
        relative = torch.matmul(q.permute(2, 0, 1, 3).reshape(q.size(2), -1, q.size(3)), table.transpose(1, 2))
        relative = relative.view(q.size(2), q.size(0), q.size(1), -1).permute(1, 2, 0, 3)
        scores = (relative + torch.matmul(q, k.transpose(-1, -2))) / q.size(3) ** 0.5
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1)
        return torch.matmul(torch.softmax(scores.masked_fill(hidden, float("-inf")), -1), v)


def accounts(core, q, k, v):
    i, j = np.indices((q.shape[2], q.shape[2]))
    table = weights_of(core)["relative.weight"][np.clip(i - j, 0, CLIP)]
    scores = q @ k.swapaxes(-1, -2) + np.einsum("bhid,ijd->bhij", q, table)
    return [account(softmax(scores / np.sqrt(q.shape[-1]) + causal(q.shape[2])), k, v)]
