"""Small hand-written models of one architecture whose attention is spelled in many ways, and their float64 truth.

A toy is embedding -> blocks (x + attention(x), no norm, no MLP) -> unembedding. The core of a block is a module
(q, k, v) -> mixed values, all [B, heads, T, D]; it may be traced or scripted.
"""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import truth
from sinkscope_export.model_file import write_model_file
from torch import Tensor, nn
from truth import Site

VOCABULARY, WIDTH = 29, 16
BATCH, LENGTH, WINDOW = 3, 20, 6  # of the measured ids; keys a window shows
TRACED = (2, 11)  # batch and length at tracing: no other size of a toy


class Attention(nn.Module):
    def __init__(self, core: nn.Module, heads: int, width: int = WIDTH):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.heads, self.size, self.core = heads, width // heads, core

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), x.size(1), self.heads, self.size).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.core(self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x)))
        return self.out(mixed.transpose(1, 2).reshape(x.size(0), x.size(1), -1))


class Block(nn.Module):
    def __init__(self, core: nn.Module, heads: int, width: int = WIDTH):
        super().__init__()
        self.attention = Attention(core, heads, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x)


class Toy(nn.Module):
    def __init__(self, *cores: nn.Module, heads: int = 2, seed: int = 0, width: int = WIDTH):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList([Block(core, heads, width) for core in cores])
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.5)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Sdpa(nn.Module):
    def __init__(self, causal: bool = True):
        super().__init__()
        self.causal = causal

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)


class Eager(nn.Module):
    """Softmax written out; causal by an additive mask."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(int(q.size(-1)))
        hidden = torch.ones(q.size(2), k.size(2), dtype=torch.bool, device=q.device).triu(1)
        scores = scores + torch.zeros_like(scores).masked_fill(hidden, float("-inf"))
        return torch.matmul(torch.softmax(scores, -1), v)


class Windowed(nn.Module):
    """SDPA with an explicit boolean mask."""

    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        distance = position[:, None] - position[None, :]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=(distance >= 0) & (distance < WINDOW))


HEADS = 2
SCALE = 1 / math.sqrt(WIDTH // HEADS)


class Written(nn.Module):
    """A core from a function of q, k, v."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.function(q, k, v)


def ids_of(batch: int, length: int, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def write(
    toy: nn.Module, path: Path, *, script: bool = False, example: Tensor | None = None, metadata: dict | None = None
) -> Path:
    """Traces or scripts a toy; metadata None writes a plain file without sinkscope.json."""
    toy.eval()
    example = ids_of(*TRACED) if example is None else example
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        module = torch.jit.script(toy) if script else torch.jit.trace(toy, example, check_trace=False)
    if metadata is None:
        module.save(str(path))
    else:
        write_model_file(module, metadata, path)
    return path


def causal(length: int) -> np.ndarray:
    return np.where(np.tri(length, dtype=bool), 0.0, -np.inf)


def window(length: int = LENGTH) -> np.ndarray:
    return np.where(np.triu(np.tri(length, dtype=bool), 1 - WINDOW), 0.0, -np.inf)


def softmax(scores: np.ndarray) -> np.ndarray:
    a = np.exp(scores - scores.max(-1, keepdims=True))
    return a / a.sum(-1, keepdims=True)


def weights_of(toy: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in toy.named_parameters(remove_duplicate=False)}


def projections(toy: nn.Module, x: np.ndarray, number: int = 0) -> list[np.ndarray]:
    """Queries, keys and values [B, heads, T, D] that a block makes of its input."""
    weight, heads = weights_of(toy), toy.blocks[number].attention.heads

    def project(part):
        return (x @ weight[f"blocks.{number}.attention.{part}.weight"].T).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    return [project(part) for part in ("query", "key", "value")]


def truth_of(
    toy: nn.Module, ids: Tensor, *biases: np.ndarray, weights: Callable[[int, np.ndarray], np.ndarray] | None = None
) -> tuple[list[Site], list[np.ndarray], np.ndarray]:
    """Sites, streams and logits of a toy in float64; biases, one a block, are added to the scores ([T, T] or [H, T, T]).

    weights: makes attention of a block's number and its scores (with the bias); default: the softmax.
    """
    weight = weights_of(toy)
    x = weight["embedding.weight"][ids.numpy()]
    streams, sites = [x], []
    for number, bias in enumerate(biases):
        q, k, v = projections(toy, x, number)
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1]) + bias
        a = softmax(scores) if weights is None else weights(number, scores)
        sites.append(Site(a, k, v))
        mixed = (a @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + mixed @ weight[f"blocks.{number}.attention.out.weight"].T
        streams.append(x)
    return sites, streams, x @ weight["head.weight"].T


def assert_agrees(report, sites, streams=None, *, tolerance=1e-5):
    """Site and stream statistics of a report against the float64 account."""
    metrics = report["metrics"]
    assert len(report["sites"]) == len(sites)
    for number, site in enumerate(sites):
        alpha = truth.alpha(site, 0)
        np.testing.assert_allclose(metrics["first_token_mass"]["per_head"][number], alpha.mean(0), atol=tolerance)
        np.testing.assert_allclose(metrics["sink_rate"]["per_head"][number], (alpha > 0.3).mean(0), atol=1e-9)
        entropy = truth.entropies(site).mean((0, 2))
        np.testing.assert_allclose(metrics["attention_entropy"]["per_head"][number], entropy, atol=tolerance)
        position, mass = truth.dominant_key(site)
        np.testing.assert_allclose(metrics["dominant_key"]["series"]["mass"]["data"][number], mass, atol=tolerance)
        assert metrics["dominant_key"]["series"]["position"]["data"][number] == position.tolist()
        np.testing.assert_allclose(metrics["head_output_norm"]["per_head"][number], site.output_norm.mean((0, 2)), rtol=tolerance)
        for which in ("key", "value"):
            first, _ = truth.first_and_others(getattr(site, which))
            np.testing.assert_allclose(metrics[f"{which}_norm"]["series"]["first"]["data"][number], first, rtol=tolerance)
    if streams is not None:
        norms = [truth.first_and_others(s)[0] for s in streams]
        np.testing.assert_allclose(metrics["hidden_norm"]["series"]["first"]["data"], norms, rtol=tolerance)
