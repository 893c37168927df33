"""ALiBi (Press et al. 2022): a bias that falls with the distance, by head; it works against a sink at key 0."""

import numpy as np
import torch
from torch import nn

from gallery.account import account, causal, dot, softmax


class Core(nn.Module):
    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        slope = 2.0 ** -torch.arange(1, q.size(1) + 1, dtype=q.dtype)
        bias = slope[:, None, None] * (position[None, :] - position[:, None])
        scores = torch.matmul(q, k.transpose(-1, -2)) / q.size(3) ** 0.5 + bias
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1)
        weights = torch.softmax(scores.masked_fill(hidden, torch.finfo(q.dtype).min).float(), -1).to(q.dtype)
        return torch.matmul(weights, v)


def accounts(core, q, k, v):
    i, j = np.indices((q.shape[2], q.shape[2]))
    bias = np.stack([(j - i) * 2.0 ** -(h + 1) for h in range(q.shape[1])])
    return [account(softmax(dot(q, k) + bias + causal(q.shape[2])), k, v)]
