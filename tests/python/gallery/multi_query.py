"""Multi-query attention (Shazeer 2019): one KV head for all query heads; statistics are per query head, norms per KV head."""

import torch.nn.functional as F
from torch import nn

from gallery.account import account, causal, dot, softmax


class Core(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], is_causal=True, enable_gqa=True)


def accounts(core, q, k, v):
    k, v = k[:, :1], v[:, :1]
    return [account(softmax(dot(q, k) + causal(q.shape[2])), k, v)]
