"""Multi-head latent attention (DeepSeek-V2): keys and values from a narrow latent, one rotary key for all heads beside them.

A key is the concatenation that enters the product; values are narrower than keys.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gallery.account import account, causal, dot, softmax, weights_of


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.randn(4, 12) * 0.5)  # latent 4 -> 4 of the key and 8 of the value

    def forward(self, q, k, v):
        key, value = torch.matmul(k[..., :4], self.up).split([4, 8], -1)
        shared = k[:, :1, :, 4:].expand(-1, k.size(1), -1, -1)
        return F.scaled_dot_product_attention(q, torch.cat([key, shared], -1), value, is_causal=True)


def accounts(core, q, k, v):
    both = k[..., :4] @ weights_of(core)["up"]
    key = np.concatenate([both[..., :4], np.broadcast_to(k[:, :1, :, 4:], both[..., :4].shape)], -1)
    return [account(softmax(dot(q, key) + causal(q.shape[2])), key, both[..., 4:])]
