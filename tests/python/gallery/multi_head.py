"""Multi-head attention (Vaswani et al. 2017): the sink is the column of a key in softmax(q k / sqrt(d))."""

import torch.nn.functional as F
from torch import nn

from gallery.account import account, causal, dot, softmax


class Core(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def accounts(core, q, k, v):
    return [account(softmax(dot(q, k) + causal(q.shape[2])), k, v)]
