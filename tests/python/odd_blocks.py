"""Layers that are modules, few of them x -> x + f(x): odd_streams.py has those that are written out."""

import torch
from odd_streams import Attention, Block, Mlp, Model, attention, layers, mlp
from torch import Tensor, nn
from toys import WIDTH


class Delta(nn.Module):
    """Returns what the caller is to add."""

    def __init__(self):
        super().__init__()
        self.attention, self.mlp = attention(), mlp()

    def forward(self, x: Tensor) -> Tensor:
        y = self.attention(x)
        return y + self.mlp(x + y)


class Deltas(Model):
    def make(self):
        self.layers = layers(Delta)

    def stack(self, x):
        self.note(x)
        for layer in self.layers:
            x = self.note(x + layer(x))
        return x


class Deferred(nn.Module):
    """Hands on the state in two parts, which the next one adds: fused add and norm."""

    def __init__(self):
        super().__init__()
        self.attention, self.mlp = attention(), mlp()

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        residual = x + residual
        residual = residual + self.attention(residual)
        return self.mlp(residual), residual


class DeferredSums(Model):
    def make(self):
        self.layers = layers(Deferred)

    def stack(self, x):
        self.note(x)
        residual = torch.zeros_like(x)
        for layer in self.layers:
            x, residual = layer(x, residual)
            self.note(x + residual)
        return x + residual


class ResidualFirst(Deferred):
    """The same; tracing orders the two by their use."""

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        residual = residual + x
        residual = residual + self.attention(residual)
        return self.mlp(residual), residual


class DeferredSumsResidualFirst(DeferredSums):
    def make(self):
        self.layers = layers(ResidualFirst)

    def stack(self, x):
        self.note(x)
        residual = torch.zeros_like(x)
        for layer in self.layers:
            x, residual = layer(x, residual)
            self.note(residual + x)
        return residual + x


class Blocks(Model):
    def make(self):
        self.layers = layers(Block)

    def stack(self, x):
        self.note(x)
        for layer in self.layers:
            x = self.note(layer(x))
        return x


class SharedAttention(Blocks):
    """Layers of their own around one attention: tracing hands it to those that do not hold it."""

    def make(self):
        shared = attention()
        self.layers = layers(lambda: Block(shared))


class Conditioned(nn.Module):
    """Begins with a sum of which the state is the second term."""

    def __init__(self):
        super().__init__()
        self.attention = attention()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = condition + x
        return x + self.attention(x)


class ConditionedBlocks(Model):
    def make(self):
        self.layers, self.condition = layers(Conditioned), nn.Linear(WIDTH, WIDTH)

    def stack(self, x):
        self.note(x)
        condition = self.condition(x)
        for layer in self.layers:
            x = self.note(layer(x, condition))
        return x


class OwnResidual(nn.Module):
    """Adds to the normalised state that it is given, and the caller adds the result to the state."""

    def __init__(self):
        super().__init__()
        self.attention = Attention()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x)


class AddedTwice(Model):
    def make(self):
        self.layers, self.norms = layers(OwnResidual), layers(lambda: nn.LayerNorm(WIDTH))

    def stack(self, x):
        self.note(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.note(x + layer(norm(x)))
        return x


class WrittenInto(nn.Module):
    """Writes the new state over the old one."""

    def __init__(self):
        super().__init__()
        self.attention = attention()

    def forward(self, x: Tensor) -> Tensor:
        x[:] = x + self.attention(x)
        return x


class WrittenIntoBlocks(Blocks):
    def make(self):
        self.layers = layers(WrittenInto)

    def stack(self, x):
        return super().stack(x.clone())


class NoResidual(Blocks):
    def make(self):
        self.layers = layers(lambda: nn.Sequential(attention(), Mlp()))


class ReversibleBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.mlp = attention(), mlp()

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        a = a + self.attention(b)
        return a, b + self.mlp(a)


class Reversible(Model):
    def make(self):
        self.layers = layers(ReversibleBlock)

    def stack(self, x):
        a = b = x
        for layer in self.layers:
            a, b = layer(a, b)
        return a + b


class ScoresHandedOn(nn.Module):
    """RealFormer: the scores are summed over the layers as well."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (m(x).view(x.size(0), x.size(1), 2, -1).transpose(1, 2) for m in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / q.size(-1) ** 0.5 + scores
        hidden = torch.ones(x.size(1), x.size(1), dtype=torch.bool).triu(1)
        weights = torch.softmax(scores.masked_fill(hidden, float("-inf")), -1)
        return x + (weights @ v).transpose(1, 2).reshape(x.shape), scores


class SummedScores(Model):
    def make(self):
        self.layers = layers(ScoresHandedOn)

    def stack(self, x):
        self.note(x)
        scores = torch.zeros(1)
        for layer in self.layers:
            x, scores = layer(x, scores)
            self.note(x)
        return x


class ScoresFirst(ScoresHandedOn):
    def forward(self, x: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        x, scores = super().forward(x, scores)
        return scores, x


class SummedScoresFirst(SummedScores):
    def make(self):
        self.layers = layers(ScoresFirst)

    def stack(self, x):
        self.note(x)
        scores = torch.zeros(1)
        for layer in self.layers:
            scores, x = layer(x, scores)
            self.note(x)
        return x
