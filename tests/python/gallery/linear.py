"""Linear attention (Katharopoulos et al. 2020): phi(q) phi(k)^T v without a matrix; its normalised effective weights are marked."""

import numpy as np
import torch
import torch.nn.functional as F
from sinkscope_export.operators import attention
from torch import nn

from gallery.account import Account


class Core(nn.Module):
    def forward(self, q, k, v):
        q, k = F.elu(q) + 1, F.elu(k) + 1
        state = torch.cumsum(torch.einsum("bhtd,bhte->bhtde", k, v), 2)
        mixed = torch.einsum("bhtd,bhtde->bhte", q, state)
        total = (q * k.cumsum(2)).sum(-1, keepdim=True)
        weights = torch.einsum("bhid,bhjd->bhij", q, k).tril() / total
        weights = attention(weights, "effective")
        return mixed / total + 0 * weights.sum(-1, keepdim=True)  # used, so that the mark stays


def accounts(core, q, k, v):
    q, k = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k))
    weights = q @ k.swapaxes(-1, -2) * np.tri(q.shape[2])
    return [Account(weights / weights.sum(-1, keepdims=True))]
