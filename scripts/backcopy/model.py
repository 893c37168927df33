"""The small pre-norm transformer of the Bigram-Backcopy task (Guo et al., arXiv 2410.13835) and what is evaluated on it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Causal multi-head attention without biases; logits are scaled by 1/sqrt(head_dim)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.head_dim = width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """[B, T, d] -> [B, H, T, head_dim]."""
        return x.view(x.size(0), x.size(1), self.heads, self.head_dim).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(mixed.transpose(1, 2).reshape(x.size(0), x.size(1), self.heads * self.head_dim))

    def probabilities(self, x: Tensor) -> Tensor:
        """The attention matrix in float64, [B, T, d] -> [B, H, T, T]: an oracle that shares no code with the fused op."""
        query, key = self.split(self.query(x)).double(), self.split(self.key(x)).double()
        logits = query @ key.transpose(-1, -2) / self.head_dim**0.5
        future = torch.ones(x.size(1), x.size(1), dtype=torch.bool).triu(1)
        return logits.masked_fill(future, float("-inf")).softmax(dim=-1)


class Block(nn.Module):
    """x + attention(norm(x)), then x + W2 relu(W1 norm(x)) of width 4d."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.down(F.relu(self.up(self.mlp_norm(x))))


class BackcopyModel(nn.Module):
    """Token ids [B, T] int64 -> logits [B, T, V]. Learned positions, untied output, library-default initialisation."""

    def __init__(self, vocabulary: int, positions: int, width: int, layers: int, heads: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.final_norm = nn.LayerNorm(width)
        self.unembedding = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.size(1), device=ids.device)
        x = self.token_embedding(ids) + self.position_embedding(positions)
        for block in self.blocks:
            x = block(x)
        return self.unembedding(self.final_norm(x))


@torch.no_grad()
def first_token_mass(model: BackcopyModel, ids: Tensor) -> Tensor:
    """FT_all of every sequence and head: the mean over all query rows, row 0 included, of P[row, 0]; [N, L, H]."""
    found = []
    hooks = [
        block.attention.register_forward_pre_hook(
            lambda attention, arguments: found.append(attention.probabilities(arguments[0])[..., 0].mean(dim=-1))
        )
        for block in model.blocks
    ]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found, dim=1)


@torch.no_grad()
def next_token_losses(model: BackcopyModel, ids: Tensor) -> Tensor:
    """Negative log-likelihood in nats of each token given those before it, [N, T] -> [N, T - 1]."""
    log_probabilities = model(ids[:, :-1]).double().log_softmax(dim=-1)
    return -log_probabilities.gather(-1, ids[:, 1:, None]).squeeze(-1)


@torch.no_grad()
def risks(model: BackcopyModel, ids: Tensor, conditional: Tensor, is_trigger: Tensor) -> tuple[float, float]:
    """Back-copy and bigram loss of Guo et al., arXiv 2410.13835, in nats.

    The expectation over the next token is taken with the task's own distribution rather than with the one token that
    was drawn, so the bigram loss can be compared with the oracle to the third digit on few sequences.
    """
    log_probabilities = model(ids).double().log_softmax(dim=-1)
    trigger = is_trigger[ids]
    before = ids.roll(1, dims=1)  # position 0 holds <s>, which is no trigger, so the wrapped value is never used
    backcopy = -log_probabilities.gather(-1, before[..., None]).squeeze(-1)[trigger].mean()
    bigram = -(conditional[ids] * log_probabilities).sum(dim=-1)[~trigger].mean()
    return float(backcopy), float(bigram)
