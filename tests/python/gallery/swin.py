"""Swin (Liu et al. 2021), on a line: windows of four tokens along the batch, with relative biases; every other layer shifted.

A window's queries are the sequence's; key 0 is the first position of a window, statistics run over all windows.
"""

import numpy as np
import torch
from torch import nn

from gallery.account import Account, softmax, weights_of

SIZE, SHIFT = 4, 2
TRACED_LENGTH = 12
MASK = ("none", "other")


class Shifted(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift = shift
        self.bias = nn.Parameter(torch.randn(2, 2 * SIZE - 1))

    def windows(self, x):
        x = torch.roll(x, -self.shift, 2)
        return x.view(x.size(0), x.size(1), -1, SIZE, x.size(3)).transpose(1, 2).reshape(-1, x.size(1), SIZE, x.size(3))

    def forward(self, q, k, v):
        position = torch.arange(SIZE)
        bias = self.bias[:, position[:, None] - position[None, :] + SIZE - 1]
        scores = torch.matmul(self.windows(q), self.windows(k).transpose(-1, -2)) / q.size(3) ** 0.5 + bias
        if self.shift > 0:  # the last window holds the first tokens too, which must not mix with the others
            part = (torch.arange(q.size(2)) >= q.size(2) - SHIFT).to(q.dtype).view(-1, SIZE)
            hidden = torch.where(part[:, :, None] != part[:, None, :], -1e4, 0.0)
            scores = (scores.view(q.size(0), -1, q.size(1), SIZE, SIZE) + hidden[None, :, None]).view(-1, q.size(1), SIZE, SIZE)
        mixed = torch.matmul(torch.softmax(scores, -1), self.windows(v))
        mixed = mixed.view(q.size(0), -1, q.size(1), SIZE, q.size(3)).transpose(1, 2).reshape(q.shape)
        return torch.roll(mixed, self.shift, 2)


def cores():
    return [Shifted(0), Shifted(SHIFT)]


def accounts(core, q, k, v):
    def windows(x):  # [N, H, W, SIZE, D]
        return np.roll(x, -core.shift, 2).reshape(*x.shape[:2], -1, SIZE, x.shape[3])

    position = np.arange(SIZE)
    bias = weights_of(core)["bias"][:, position[:, None] - position[None, :] + SIZE - 1]
    scores = windows(q) @ windows(k).swapaxes(-1, -2) / np.sqrt(q.shape[-1]) + bias[:, None]
    if core.shift:
        part = (np.arange(q.shape[2]) >= q.shape[2] - SHIFT).reshape(-1, SIZE)
        scores = np.where(part[:, :, None] == part[:, None, :], scores, -np.inf)
    a = softmax(scores)
    flat = (*q.shape[:3], -1)
    return [Account(a.reshape(flat), windows(k), windows(v), (a @ windows(v)).reshape(flat))]
