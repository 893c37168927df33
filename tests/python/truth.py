"""The statistics of metrics.md in float64 numpy, from whole attention matrices: what a report is compared with.

Written from the definitions alone; shares no code and no shortcut with the program.
"""

from dataclasses import dataclass

import numpy as np

EPSILONS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@dataclass
class Site:
    """One attention site: attention [N, H, Q, K]; key and value [N, G, K, D], as a cache would hold them, or None."""

    attention: np.ndarray
    key: np.ndarray | None = None
    value: np.ndarray | None = None

    def __post_init__(self):
        for name, x in vars(self).items():
            setattr(self, name, None if x is None else np.asarray(x, np.float64))

    @property
    def heads_value(self) -> np.ndarray:
        return self.value.repeat(self.attention.shape[1] // self.value.shape[1], axis=1)

    @property
    def output_norm(self) -> np.ndarray:
        """[N, H, Q]: norm of a head's output before the output projection."""
        return np.linalg.norm(self.attention @ self.heads_value, axis=-1)


def alpha(site: Site, key: int, *, causal: bool = True) -> np.ndarray:
    """[N, H]: attention to a key, over the queries that causality lets see it."""
    rows = site.attention.shape[2]
    return site.attention[..., key].sum(-1) / (rows - key if causal else rows)


def entropies(site: Site) -> np.ndarray:
    """[N, H, Q], nats; 0 ln 0 is 0."""
    a = site.attention
    return -(a * np.log(np.where(a > 0, a, 1))).sum(-1)


def first_token_mass(site: Site, k: int = 4, window: int = 64) -> dict[str, np.ndarray]:
    """Means over sequences, [H]; the plain one under ''."""
    a = site.attention
    rows = {
        "": a[..., 0].mean(-1),
        "excluding_first_query": a[:, :, 1:, 0].mean(-1),
        "after_first_k": a[:, :, k:, :k].sum(-1).mean(-1),
        "tail": a[:, :, -window:, 0].mean(-1),
        "last_query": a[:, :, -1, 0],
    }
    return {name: values.mean(0) for name, values in rows.items()}


def normalised_entropy(site: Site, visible: np.ndarray) -> np.ndarray:
    """[H]: rows with one visible key count as 0; visible [Q]."""
    scale = np.where(visible > 1, 1 / np.log(np.maximum(visible, 2)), 0)
    return (entropies(site) * scale).mean(-1).mean(0)


def dominant_key(site: Site) -> tuple[np.ndarray, np.ndarray]:
    """Position and mass [H] of the largest mean column."""
    columns = site.attention.mean(axis=(0, 2))
    return columns.argmax(-1), columns.max(-1)


def first_and_others(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, ..., T, D] -> norm at position 0 and mean norm elsewhere, both means over sequences."""
    norm = np.linalg.norm(np.asarray(vectors, np.float64), axis=-1)
    return norm[..., 0].mean(0), norm[..., 1:].mean(-1).mean(0)


def dormant_scores(site: Site) -> dict[str, np.ndarray]:
    """The twelve scores [N, H] of docs/metrics.md, dormant_head."""
    value_norm = np.linalg.norm(site.heads_value, axis=-1)
    raw = {
        "awft": site.attention[..., 0].mean(-1),
        "aeqd": entropies(site).mean(-1),
        "ftvvn": value_norm[..., 0],
        "avvn": value_norm.mean(-1),
        "lthon": site.output_norm[..., -1],
        "ahon": site.output_norm.mean(-1),
    }
    divisor = {name: raw["ahon" if name == "lthon" else name].mean(1, keepdims=True) for name in raw}
    return raw | {f"{name}_ln": raw[name] / divisor[name] for name in raw}


def magnitudes(stream: np.ndarray) -> dict[str, float]:
    """Top three and lower median of a stream [N, T, d], per sequence, then the mean over sequences."""
    flat = np.sort(np.abs(np.asarray(stream, np.float64)).reshape(len(stream), -1), axis=-1)
    return {"top1": flat[:, -1].mean(), "top2": flat[:, -2].mean(), "top3": flat[:, -3].mean(),
            "median": flat[:, (flat.shape[1] - 1) // 2].mean()}


def next_token_loss(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """[N]: mean negative log-likelihood of each sequence; logits [N, T, V]."""
    z = np.asarray(logits, np.float64)[:, :-1]
    z = z - z.max(-1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return -np.take_along_axis(log_p, np.asarray(ids)[:, 1:, None], -1)[..., 0].mean(-1)


def harmonic(n: int) -> float:
    return float((1 / np.arange(1, n + 1)).sum())
