"""Multi-token attention (Golovneva et al. 2025): logits are convolved over neighbouring queries and keys before the softmax."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gallery.account import account, causal, dot, softmax, weights_of


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(2, 1, 3, 3) * 0.5)  # a kernel for each head

    def forward(self, q, k, v):
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1)
        scores = torch.matmul(q, k.transpose(-1, -2)) / q.size(3) ** 0.5
        # Earlier queries, keys on both sides; what is hidden is zero for the convolution.
        scores = F.conv2d(F.pad(scores.masked_fill(hidden, 0.0), (1, 1, 2, 0)), self.kernel, groups=q.size(1))
        return torch.matmul(torch.softmax(scores.masked_fill(hidden, float("-inf")), -1), v)


def accounts(core, q, k, v):
    length = q.shape[2]
    scores = np.pad(dot(q, k) * np.tri(length), ((0, 0), (0, 0), (2, 0), (1, 1)))
    kernel = weights_of(core)["kernel"][:, 0]
    mixed = sum(kernel[None, :, a, b, None, None] * scores[:, :, a : a + length, b : b + length] for a in range(3) for b in range(3))
    return [account(softmax(mixed + causal(length)), k, v)]
