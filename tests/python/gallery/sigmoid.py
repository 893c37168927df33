"""Sigmoid attention (Ramapuram et al. 2024): weights are independent and rows sum to anything.

Thresholds, columns and entropies look at the proxy w / (sum w + 1e-8) (Gu et al.); masses are the weights themselves.
"""

import math

import numpy as np
import torch
from torch import nn

from gallery.account import account, dot


class Core(nn.Module):
    def forward(self, q, k, v):
        scores = torch.matmul(q, k.transpose(-1, -2)) / q.size(3) ** 0.5 - math.log(8)
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1)
        return torch.matmul(torch.sigmoid(scores.masked_fill(hidden, float("-inf"))), v)


def accounts(core, q, k, v):
    weights = np.tri(q.shape[2]) / (1 + np.exp(math.log(8) - dot(q, k)))
    return [account(weights, k, v, free=True)]
