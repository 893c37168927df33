"""What a gallery variant says of its own attention in float64 numpy, and helpers shared by the variants."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Account:
    """One site: attention [N, H, Q, K] by its definition; key, value [N, G, K, D] and output [N, H, Q, D] where known.

    free: rows need not sum to one. sink [N, H, Q]: what a learned sink takes. Windows: key and value are [N, G, W, K, D].
    """

    attention: np.ndarray
    key: np.ndarray | None = None
    value: np.ndarray | None = None
    output: np.ndarray | None = None
    free: bool = False
    sink: np.ndarray | None = None


def account(attention: np.ndarray, key: np.ndarray, value: np.ndarray, **more) -> Account:
    """With the output that these weights give."""
    heads = attention.shape[1] // value.shape[1]
    return Account(attention, key, value, attention @ value.repeat(heads, 1), **more)


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def causal(length: int) -> np.ndarray:
    """0 where a query sees a key, -inf elsewhere."""
    return np.where(np.tri(length, dtype=bool), 0.0, -np.inf)


def dot(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Scaled scores; KV heads are repeated."""
    return q @ k.repeat(q.shape[1] // k.shape[1], 1).swapaxes(-1, -2) / np.sqrt(q.shape[-1])


def weights_of(core) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in core.named_parameters()}
