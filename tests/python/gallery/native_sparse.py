"""Native sparse attention (Yuan et al. 2025): compressed blocks, selected blocks and a window, mixed by gates.

Each branch is a distribution and a site of its own; the keys of the first are blocks, not tokens.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gallery.account import account, causal, dot, softmax, weights_of

BLOCK, WINDOW = 4, 5
TRACED_LENGTH = 12
KIND = ("cross", "self", "self")
MASK = ("other", "window", "other")


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.randn(8, 3))

    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        distance = position[:, None] - position[None, :]
        blocks = position[:: BLOCK] // BLOCK
        key, value = (x.unflatten(2, (-1, BLOCK)).mean(3) for x in (k, v))
        early = position[:, None] // BLOCK < blocks[None, :]  # a block is seen from its first token on
        compressed = (torch.matmul(q, key.transpose(-1, -2)) / q.size(3) ** 0.5).masked_fill(early, float("-inf"))
        weights = torch.softmax(compressed, -1)
        best = weights.argmax(-1)  # [b, h, i]
        unselected = position[None, None, None, :] // BLOCK != best[..., None]
        scores = torch.matmul(q, k.transpose(-1, -2)) / q.size(3) ** 0.5
        scores = scores.masked_fill(unselected & (distance != 0), float("-inf")).masked_fill(distance < 0, float("-inf"))
        near = F.scaled_dot_product_attention(q, k, v, attn_mask=(distance >= 0) & (distance < WINDOW))
        gate = torch.sigmoid(torch.matmul(q, self.gate))
        return gate[..., :1] * (weights @ value) + gate[..., 1:2] * (torch.softmax(scores, -1) @ v) + gate[..., 2:] * near


def accounts(core, q, k, v):
    position, hidden = np.arange(q.shape[2]), causal(q.shape[2])
    key, value = (x.reshape(*x.shape[:2], -1, BLOCK, x.shape[3]).mean(3) for x in (k, v))
    seen = position[:, None] // BLOCK >= np.arange(key.shape[2])[None, :]
    compressed = softmax(np.where(seen, dot(q, key), -np.inf))
    selected = (position // BLOCK == compressed.argmax(-1)[..., None]) | (position[:, None] == position)
    near = position[:, None] - position < WINDOW
    branches = [np.where(chosen, dot(q, k), -np.inf) + hidden for chosen in (near, selected)]
    return [account(compressed, key, value), *(account(softmax(s), k, v) for s in branches)]
