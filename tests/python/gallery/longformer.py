"""Longformer: a window on both sides, and two global tokens that see all and are seen by all; a sink falls on these."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gallery.account import account, dot, softmax

MASK = "other"


class Core(nn.Module):
    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        near = (position[:, None] - position[None, :]).abs() <= 3
        is_global = position < 2
        return F.scaled_dot_product_attention(q, k, v, attn_mask=near | is_global[:, None] | is_global[None, :])


def accounts(core, q, k, v):
    i, j = np.indices((q.shape[2], q.shape[2]))
    seen = (abs(i - j) <= 3) | (i < 2) | (j < 2)
    return [account(softmax(dot(q, k) + np.where(seen, 0.0, -np.inf)), k, v)]
