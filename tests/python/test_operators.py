"""The Python operators of the exporter: what windows, chunks, soft caps and learned sinks mean, and that they survive a trace."""

import math

import pytest
import torch
from sinkscope_export import operators

B, H, G, T, D = 2, 4, 2, 7, 8


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(3)
    return [3 * torch.randn(B, heads, T, D, generator=generator) for heads in (H, G, G)]


def by_hand(query, key, value, scale=None, window=0, chunk=0, softcap=0.0, sinks=None):
    """One row at a time in float64, with Python's own arithmetic."""
    out = torch.zeros(B, H, T, D, dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            q, k, v = query[b, h].double(), key[b, h * G // H].double(), value[b, h * G // H].double()
            for i in range(T):
                seen = [j for j in range(i + 1) if (not window or i - j < window) and (not chunk or i // chunk == j // chunk)]
                logits = [float(q[i] @ k[j]) * (scale or 1 / math.sqrt(D)) for j in seen]
                if softcap:
                    logits = [softcap * math.tanh(x / softcap) for x in logits]
                total = sum(map(math.exp, logits)) + (math.exp(float(sinks[h])) if sinks is not None else 0)
                out[b, h, i] = sum(math.exp(x) / total * v[j] for x, j in zip(logits, seen, strict=True))
    return out


@pytest.mark.parametrize(
    "options",
    [{}, {"scale": 0.3}, {"window": 3}, {"chunk": 3}, {"softcap": 2.0}, {"sinks": [0.5, -1.0, 3.0, 8.0]},
     {"window": 2, "softcap": 1.5, "sinks": [1.0, 2.0, 3.0, 4.0], "scale": 1.0}],
)
def test_fused_attention_is_the_definition_row_by_row(tensors, options):
    options = {name: torch.tensor(x) if name == "sinks" else x for name, x in options.items()}
    found = operators.fused_attention(*tensors, **options)
    assert (found - by_hand(*tensors, **options)).abs().max() < 1e-5
    if options:  # and what the option says matters on these tensors
        assert (found - operators.fused_attention(*tensors)).abs().max() > 1e-2


def test_fused_attention_without_options_is_causal_scaled_dot_product_attention(tensors):
    expected = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True, enable_gqa=True)
    assert (operators.fused_attention(*tensors) - expected).abs().max() < 1e-5


def test_values_may_be_shorter_than_keys_and_sixteen_bit_tensors_stay_sixteen_bit(tensors):
    query, key, value = tensors
    assert operators.fused_attention(query, key, value[..., :3]).shape == (B, H, T, 3)
    assert operators.fused_attention(*(x.bfloat16() for x in tensors), window=3).dtype == torch.bfloat16


def test_marked_attention_is_its_argument():
    weights = torch.rand(2, 3, 3)
    assert torch.equal(operators.attention(weights, "branch"), weights)


class Marked(torch.nn.Module):
    def forward(self, query, key, value):
        sinks = torch.zeros(query.size(1))
        weights = operators.attention((query @ query.transpose(-1, -2)).softmax(-1), "own", True)
        return operators.fused_attention(query, key, value, window=3, sinks=sinks) + weights @ query


def test_both_operators_survive_a_trace_as_one_node_each_and_keep_their_arguments(tensors, tmp_path):
    model = Marked()
    torch.jit.save(torch.jit.trace(model, tuple(tensors), check_trace=False), tmp_path / "m.pt")
    loaded = torch.jit.load(tmp_path / "m.pt")
    kinds = [node.kind() for node in loaded.graph.nodes()]
    assert [kinds.count(f"sinkscope::{name}") for name in ("fused_attention", "attention")] == [1, 1]
    longer = [torch.cat([x, x], dim=2) for x in tensors]
    assert torch.equal(loaded(*longer), model(*longer))
