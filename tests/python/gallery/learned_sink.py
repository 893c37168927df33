"""Learned sink (gpt-oss): one logit a head in the denominator; rows sum to one minus what it takes."""

import numpy as np
import torch
from torch import nn

from gallery.account import account, causal, dot, weights_of


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.sinks = nn.Parameter(torch.tensor([1.5, -1.0]))

    def forward(self, q, k, v):
        scores = torch.matmul(q, k.transpose(-1, -2)) / q.size(3) ** 0.5
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1)
        sinks = self.sinks.reshape(1, -1, 1, 1).expand(q.size(0), -1, q.size(2), -1)
        both = torch.cat([scores.masked_fill(hidden, float("-inf")), sinks], -1)
        both = both - both.max(-1, keepdim=True).values
        return torch.matmul(torch.softmax(both, -1)[..., :-1], v)


def accounts(core, q, k, v):
    e = np.exp(dot(q, k) + causal(q.shape[2]))
    sink = np.exp(weights_of(core)["sinks"])[None, :, None, None]
    total = e.sum(-1, keepdims=True) + sink
    return [account(e / total, k, v, sink=(sink / total)[..., 0])]
