"""Grouped-query attention (Ainslie et al. 2023), KV heads repeated by expand and reshape as in transformers."""

import torch.nn.functional as F
from torch import nn

from gallery.account import account, causal, dot, softmax

HEADS = 4


def repeat(x, times):
    batch, heads, length, size = x.shape
    return x[:, :, None].expand(batch, heads, times, length, size).reshape(batch, heads * times, length, size)


class Core(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, repeat(k[:, :2], 2), repeat(v[:, :2], 2), is_causal=True)


def accounts(core, q, k, v):
    k, v = k[:, :2], v[:, :2]
    return [account(softmax(dot(q, k) + causal(q.shape[2])), k, v)]
