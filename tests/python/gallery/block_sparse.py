"""Block-sparse attention as in XAttention (Xu et al. 2025): blocks whose antidiagonal is weak are left out, by head and sequence."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gallery.account import account, dot, softmax

BLOCK, KEPT = 4, 2
TRACED_LENGTH = 12
MASK = "other"


class Core(nn.Module):
    def forward(self, q, k, v):
        blocks = q.size(2) // BLOCK
        a, b = (x.unflatten(2, (-1, BLOCK)) for x in (q, k.unflatten(2, (-1, BLOCK)).flip(3).flatten(2, 3)))
        strength = torch.matmul(a.flatten(3), b.flatten(3).transpose(-1, -2))  # sums of antidiagonals
        later = torch.ones(blocks, blocks, dtype=torch.bool).triu(1)
        rank = strength.masked_fill(later, float("-inf")).argsort(-1, descending=True).argsort(-1)
        keep = (rank < KEPT) | torch.eye(blocks, dtype=torch.bool)
        keep = keep.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
        seen = keep & torch.ones(q.size(2), q.size(2), dtype=torch.bool).tril()
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)


def accounts(core, q, k, v):
    n = q.shape[2] // BLOCK
    scores = (q @ k.swapaxes(-1, -2)).reshape(*q.shape[:2], n, BLOCK, n, BLOCK)
    strength = sum(scores[:, :, :, i, :, BLOCK - 1 - i] for i in range(BLOCK))
    strength = np.where(np.tri(n) > 0, strength, -np.inf)
    rank = (-strength).argsort(-1, kind="stable").argsort(-1)
    keep = ((rank < KEPT) | np.eye(n, dtype=bool)).repeat(BLOCK, 2).repeat(BLOCK, 3) & np.tri(q.shape[2], dtype=bool)
    return [account(softmax(np.where(keep, dot(q, k), -np.inf)), k, v)]
