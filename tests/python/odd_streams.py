"""Ways to write a residual stream whose layers are no modules: they are written out where the model runs them.

A model notes its hidden state in `states` where it enters the first layer and where it leaves each.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import VOCABULARY, WIDTH

LAYERS = 3


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (m(x).view(x.size(0), x.size(1), 2, -1).transpose(1, 2) for m in (self.query, self.key, self.value))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape))


class Mlp(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))


class PreNorm(nn.Module):
    def __init__(self, function: nn.Module):
        super().__init__()
        self.norm, self.function = nn.LayerNorm(WIDTH), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.norm(x))


def attention() -> nn.Module:
    return PreNorm(Attention())


def mlp() -> nn.Module:
    return PreNorm(Mlp())


def layers(make) -> nn.ModuleList:
    return nn.ModuleList(make() for _ in range(LAYERS))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.make()
        self.states: list[Tensor] = []

    def note(self, x: Tensor) -> Tensor:
        if not torch.jit.is_tracing():
            self.states.append(x.detach().clone())
        return x

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.stack(self.embedding(ids))))


class Block(nn.Module):
    def __init__(self, attend: nn.Module | None = None):
        super().__init__()
        self.attention, self.mlp = attend or attention(), mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class Parts(Model):
    """Each layer a list of parts, added outside: the layer itself is never called."""

    def make(self):
        self.layers = layers(lambda: nn.ModuleList([attention(), mlp()]))

    def stack(self, x):
        self.note(x)
        for attend, feed in self.layers:
            x = attend(x) + x
            x = self.note(feed(x) + x)
        return x


class PartsInPlace(Parts):
    def stack(self, x):
        x = x.clone()
        x[:, 0] = 1.5  # a class token, written into the embedding
        self.note(x)
        for attend, feed in self.layers:
            x += attend(x)
            x += feed(x)
            self.note(x)
        return x


class TiedParts(Parts):
    """One layer, run three times."""

    def stack(self, x):
        self.note(x)
        for _ in range(LAYERS):
            attend, feed = self.layers[0]
            x = x + attend(x)
            x = self.note(x + feed(x))
        return x


class NormParts(Model):
    """The norms are parts as well, the second used twice."""

    def make(self):
        self.layers = layers(
            lambda: nn.ModuleDict({"norm": nn.LayerNorm(WIDTH), "attention": Attention(), "mlp": Mlp(), "after": nn.LayerNorm(WIDTH)})
        )

    def stack(self, x):
        self.note(x)
        for part in self.layers:
            x = x + part["after"](part["attention"](part["norm"](x)))
            x = self.note(x + part["after"](part["mlp"](part["norm"](x))))
        return x


class PostNormParts(Model):
    def make(self):
        self.layers = layers(lambda: nn.ModuleList([Attention(), nn.LayerNorm(WIDTH), Mlp(), nn.LayerNorm(WIDTH)]))

    def stack(self, x):
        self.note(x)
        for attend, first, feed, second in self.layers:
            x = first(x + attend(x))
            x = self.note(second(x + feed(x)))
        return x


class ScaledParts(Parts):
    """Residual and branch are scaled, as in DeepNorm and with layer scale."""

    def make(self):
        super().make()
        self.scale = nn.Parameter(torch.rand(WIDTH))

    def stack(self, x):
        self.note(x)
        for attend, feed in self.layers:
            x = x * 1.5 + self.scale * attend(x)
            x = self.note(1.5 * x + F.dropout(feed(x), 0.0) * self.scale)
        return x


class GatedParts(Model):
    def make(self):
        self.layers = layers(lambda: nn.ModuleList([attention(), nn.Linear(WIDTH, WIDTH), mlp()]))

    def stack(self, x):
        self.note(x)
        for attend, gate, feed in self.layers:
            x = torch.lerp(x, attend(x), torch.sigmoid(gate(x)))
            x = self.note(x + feed(x))
        return x


class SeparateLists(Model):
    """One list of attentions, one of MLPs; the norm is written out and stands outside of both."""

    def make(self):
        self.attentions, self.mlps = layers(Attention), layers(Mlp)

    def normed(self, x):
        return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True) + 1e-6)

    def stack(self, x):
        self.note(x)
        for attend, feed in zip(self.attentions, self.mlps, strict=True):
            x = x + attend(self.normed(x))
            x = self.note(x + feed(self.normed(x)))
        return x


class Attributes(Model):
    """No list at all."""

    def make(self):
        for i in range(LAYERS):
            setattr(self, f"attention{i}", attention())
            setattr(self, f"mlp{i}", mlp())

    def stack(self, x):
        self.note(x)
        for i in range(LAYERS):
            x = x + getattr(self, f"attention{i}")(x)
            x = self.note(x + getattr(self, f"mlp{i}")(x))
        return x


class CrossAttention(Attention):
    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        q, k, v = (
            m(y).view(x.size(0), y.size(1), 2, -1).transpose(1, 2)
            for m, y in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))


class Decoder(Model):
    """An encoder block that stands alone, and a decoder of parts that attends to it, as long as itself."""

    def make(self):
        self.encoder = Block()
        self.layers = layers(
            lambda: nn.ModuleDict(
                {"attention": attention(), "norm": nn.LayerNorm(WIDTH), "memory": nn.LayerNorm(WIDTH), "cross": CrossAttention()}
            )
        )

    def stack(self, x):
        memory = self.encoder(x)
        x = torch.tanh(x)
        self.note(x)
        for part in self.layers:
            x = x + part["attention"](x)
            x = self.note(x + part["cross"](part["norm"](x), part["memory"](memory)))
        return x


class Stages(Model):
    """Two lists of layers written out, between them a map and behind them a term that is no layer's."""

    def make(self):
        self.first, self.second = (layers(lambda: nn.ModuleList([attention(), mlp()])) for _ in range(2))
        self.between, self.last = nn.Linear(WIDTH, WIDTH), mlp()

    def stack(self, x):
        for part in (self.first, self.second):
            self.note(x)
            for attend, feed in part:
                x = x + attend(x)
                x = self.note(x + feed(x))
            x = self.between(x)
        return x + self.last(x)


class PostNormOutside(Model):
    """The norms are no parts, and the penalty beside the state is no state."""

    def make(self):
        self.attentions, self.norms = layers(Attention), layers(lambda: nn.LayerNorm(WIDTH))

    def stack(self, x):
        self.note(x)
        penalty = torch.zeros_like(x)
        for attend, norm in zip(self.attentions, self.norms, strict=True):
            before = x
            x = self.note(norm(x + attend(x)))
            penalty = penalty + (x - before) ** 2
        return x + 0 * penalty.mean()
