"""The operators `sinkscope::fused_attention` and `sinkscope::attention` in Python, under the schemas of the program.

Importing this module registers them, for tracing, for loading files that use them, and for the exporter's self-check. The
program has its own, which never write the matrix out; these are plain and show what is meant.
"""

import torch
from torch import Tensor

FUSED_ATTENTION = (
    "fused_attention(Tensor query, Tensor key, Tensor value, float? scale=None, int window=0, int chunk=0, "
    "float softcap=0.0, Tensor? sinks=None) -> Tensor"
)
ATTENTION = "attention(Tensor(a) weights, str name, bool probability=True) -> Tensor(a)"


def _visible(length: int, window: int, chunk: int, device: torch.device) -> Tensor:
    """[T, T] bool: causal, then i - j < window and i // chunk == j // chunk where these are not 0."""
    rows, keys = torch.arange(length, device=device)[:, None], torch.arange(length, device=device)[None, :]
    visible = keys <= rows
    if window:
        visible = visible & (rows - keys < window)
    if chunk:
        visible = visible & (rows // chunk == keys // chunk)
    return visible


def _fused_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, window: int = 0, chunk: int = 0,
    softcap: float = 0.0, sinks: Tensor | None = None,
) -> Tensor:
    """query [B, H, T, D], key [B, G, T, D], value [B, G, T, E] -> [B, H, T, E]; head h reads K and V head h // (H / G).

    scale None is 1 / sqrt(D); window, chunk and softcap 0 are off; the cap is on scale * q.k; sinks [H] are logits that
    take part in the denominator only. The softmax is float32, everything else in the tensors' dtype.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    logits = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    logits = logits.float().masked_fill(~_visible(query.shape[-2], window, chunk, query.device), float("-inf"))
    if sinks is None:
        weights = logits.softmax(-1)
    else:
        column = sinks.float().view(1, -1, 1, 1).expand(*logits.shape[:3], 1)
        weights = torch.cat([logits, column], dim=-1).softmax(-1)[..., :-1]
    return weights.to(query.dtype) @ value


def _attention(weights: Tensor, name: str, probability: bool = True) -> Tensor:
    """weights [B, H, Q, K] or [B, Q, K] -> weights: declares them as attention; probability: rows sum to at most one."""
    return weights


_library = torch.library.Library("sinkscope", "DEF")  # kept: the operators live as long as it does
_library.define(FUSED_ATTENTION)
_library.define(ATTENTION)
_library.impl("fused_attention", _fused_attention, "CompositeImplicitAutograd")
_library.impl("attention", _attention, "CompositeImplicitAutograd")

fused_attention = torch.ops.sinkscope.fused_attention
attention = torch.ops.sinkscope.attention
