"""Models unlike the usual traced decoder: masks of every kind, other keys, shared blocks, heads without a dimension.

Each is compared with the float64 account of the same weights in truth.py.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toys
import truth
from measuring import MEASURES, codes, measure, warning
from torch import nn
from toys import BATCH, LENGTH, WINDOW, Eager, Sdpa, Toy, Windowed, assert_agrees, causal, truth_of, window, write

FLAT = np.zeros((LENGTH, LENGTH))

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def alibi(heads: int, length: int = LENGTH) -> np.ndarray:
    distance = np.arange(length)[None, :] - np.arange(length)[:, None]
    return np.stack([distance * 2.0 ** -(h + 1) for h in range(heads)]) + causal(length)


class Alibi(nn.Module):
    """SDPA with a float mask of its own for every head."""

    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        distance = position[None, :] - position[:, None]
        slope = 2.0 ** -torch.arange(1, q.size(1) + 1, dtype=q.dtype)
        hidden = torch.zeros(distance.shape).masked_fill(distance > 0, float("-inf"))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=slope[None, :, None, None] * distance + hidden)


class AlibiOfScalars(Alibi):
    """A trace keeps the 1.0 as a float64 constant; TorchScript's executor gives float32 all the same."""

    def forward(self, q, k, v):
        position = torch.arange(q.size(2)) * 1.0
        distance = position[None, :] - position[:, None]
        hidden = torch.zeros(distance.shape).masked_fill(distance > 0, float("-inf"))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=0.5 * distance + hidden)


class CausalByMask(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(q.size(2), q.size(2), dtype=torch.bool).tril())


class CausalBeside(nn.Module):
    """is_causal and a mask of its own: both hide."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask(position[:, None] - position[None, :]), is_causal=True)


class EagerWindow(nn.Module):
    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        distance = position[:, None] - position[None, :]
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.size(-1))
        scores = scores.masked_fill((distance < 0) | (distance >= WINDOW), torch.finfo(scores.dtype).min)
        return torch.matmul(F.dropout(torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype), 0.0), v)


class EagerOpen(nn.Module):
    """Bidirectional, the scale applied to q."""

    def forward(self, q, k, v):
        return torch.softmax((q / math.sqrt(q.size(-1))) @ k.transpose(-2, -1), dim=3) @ v


class Repeated(nn.Module):
    """Two query heads on the first of two KV heads, repeated by expand and reshape as transformers does."""

    def forward(self, q, k, v):
        k, v = (x[:, :1][:, :, None].expand(-1, 1, q.size(1), x.size(2), -1).reshape(q.shape) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def repeated(x, heads):
    """As Meta's llama: [B, T, G, D] -> [B, T, H, D]."""
    return x[:, :, :, None, :].expand(-1, -1, -1, heads // x.size(2), -1).reshape(x.size(0), x.size(1), heads, x.size(3))


class RepeatedBehindPositions(nn.Module):
    """Repeated in [B, T, G, D], exchanged with the positions afterwards."""

    def forward(self, q, k, v):
        k, v = (repeated(x[:, :1].transpose(1, 2), q.size(1)).transpose(1, 2) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class RepeatedBehindPositionsEager(nn.Module):
    def forward(self, q, k, v):
        k = repeated(k[:, :1].transpose(1, 2), q.size(1)).transpose(1, 2)
        v = v[:, :1].transpose(1, 2).repeat_interleave(2, dim=2).transpose(1, 2)
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.size(-1))
        return torch.matmul(torch.softmax(scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1) > 0, -1e9), -1), v)


class RepeatedBehindPositionsEinsum(nn.Module):
    def forward(self, q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k[:, :1], v[:, :1]))
        k, v = (x.repeat_interleave(2, dim=2) for x in (k, v))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.size(-1))
        weights = torch.softmax(scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1) > 0, -1e9), -1)
        return torch.einsum("bhqk,bkhd->bqhd", weights, v).transpose(1, 2)


class Expanded(nn.Module):
    """One KV head, expanded: multi-query attention."""

    def forward(self, q, k, v):
        k, v = (x[:, :1].expand(-1, q.size(1), -1, -1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class ExpandedEager(nn.Module):
    """The same, every size written down."""

    def forward(self, q, k, v):
        k, v = (x.transpose(1, 2)[:, :, :1].transpose(1, 2).expand(q.shape) for x in (k, v))
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.size(-1))
        return torch.matmul(torch.softmax(scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1) > 0, -1e9), -1), v)


class Stacked(nn.Module):
    def forward(self, q, k, v):
        k, v = (torch.stack([x, x], 2).flatten(1, 2) for x in (k[:, :1], v[:, :1]))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class RepeatedAlongNewDim(nn.Module):
    def forward(self, q, k, v):
        k, v = (x[:, :1, None].repeat(1, 1, 2, 1, 1).view(q.shape) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Cross(nn.Module):
    """Attention to twelve states that are not the sequence."""

    def __init__(self):
        super().__init__()
        self.memory = nn.Parameter(torch.randn(1, 2, 12, toys.WIDTH // 2, generator=torch.Generator().manual_seed(3)))

    def forward(self, q, k, v):
        memory = self.memory.expand(q.size(0), -1, -1, -1) + 0 * k[:, :, :1]
        return F.scaled_dot_product_attention(q, memory, memory)


class RankThree(nn.Module):
    """One head without a dimension for heads."""

    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q[:, 0], k[:, 0], v[:, 0], is_causal=True)[:, None]


class RankThreeEager(nn.Module):
    def forward(self, q, k, v):
        q, k, v = q[:, 0], k[:, 0], v[:, 0]
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.size(-1))
        hidden = torch.ones(q.size(1), q.size(1), dtype=torch.bool).triu(1)
        return torch.matmul(torch.softmax(scores.masked_fill(hidden, float("-inf")), -1), v)[:, None]


KINDS = {  # core, bias of every block, mask, measured_by
    "sdpa": (Sdpa, causal(LENGTH), "causal", "fused"),
    "sdpa with a causal mask tensor": (CausalByMask, causal(LENGTH), "causal", "fused"),
    "sdpa, causal beside a mask that hides nothing": (lambda: CausalBeside(lambda d: d > -10_000), causal(LENGTH), "causal", "fused"),
    "sdpa, causal beside a band": (lambda: CausalBeside(lambda d: d.abs() < WINDOW), window(), "window", "fused"),
    "sdpa, causal beside a bias": (lambda: CausalBeside(lambda d: -0.5 * d.abs()), alibi(1)[0], "causal", "blocks"),
    "sdpa, bidirectional": (lambda: Sdpa(causal=False), FLAT, "none", "fused"),
    "sdpa with a window mask": (Windowed, window(), "window", "fused"),
    "sdpa with ALiBi": (Alibi, alibi(2), "causal", "blocks"),
    "sdpa with a mask made of Python numbers": (AlibiOfScalars, alibi(1)[0], "causal", "blocks"),
    "eager": (Eager, causal(LENGTH), "causal", "materialised"),
    "eager with a window": (EagerWindow, window(), "window", "materialised"),
    "eager, bidirectional": (EagerOpen, FLAT, "none", "materialised"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_spelling_of_attention_agrees_with_float64(tmp_path, ids, tokens, kind):
    core, bias, mask, measured_by = KINDS[kind]
    toy = Toy(core(), core())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    sites, streams, logits = truth_of(toy, ids, bias, bias)
    assert_agrees(report, sites, streams)
    alpha = np.stack([[truth.alpha(s, k, causal=mask != "none") for k in range(10)] for s in sites])
    by_key = (alpha > 0.3).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(report["metrics"]["sink_rate"]["series"]["by_key"]["data"], by_key, atol=1e-9)
    assert {(s["mask"], s["measured_by"]) for s in report["sites"]} == {(mask, measured_by)}
    assert {s["window"] for s in report["sites"]} == {WINDOW if mask == "window" else None}
    assert report["verify"]["logits_bit_identical"] is True
    assert max(report["verify"]["max_error"].values()) < 1e-5
    if mask == "none":
        assert report["metrics"]["loss"]["value"] is None and warning(report, "no_loss")
        assert report["metrics"]["first_token_mass"]["uniform"] == pytest.approx(1 / LENGTH)
    else:
        expected = truth.next_token_loss(logits, ids.numpy()).mean()
        assert report["metrics"]["loss"]["value"] == pytest.approx(expected, rel=1e-5)
        if mask == "causal":
            assert report["metrics"]["first_token_mass"]["uniform"] == pytest.approx(truth.harmonic(LENGTH) / LENGTH)


def test_mixed_full_and_windowed_sites_have_a_value_for_each_group_and_a_warning(tmp_path, ids, tokens):
    toy = Toy(Sdpa(), Windowed())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), window())
    assert_agrees(report, sites, streams)
    assert warning(report, "window_hides_key_0")
    metric = report["metrics"]["first_token_mass"]
    groups = {(g["kind"], g["mask"]): g for g in metric["by_group"]}
    assert groups.keys() == {("self", "causal"), ("self", "window")}
    for (_, mask), site in zip((("self", "causal"), ("self", "window")), sites, strict=True):
        assert groups["self", mask]["value"] == pytest.approx(truth.alpha(site, 0).mean(), abs=1e-5)
    assert groups["self", "window"]["uniform"] == pytest.approx(truth.harmonic(WINDOW) / LENGTH, abs=1e-12)
    assert metric["value"] == pytest.approx(np.mean([truth.alpha(s, 0).mean() for s in sites]), abs=1e-5)


def test_loss_and_jacobian_know_a_bidirectional_model_when_no_attention_metric_runs(tmp_path, tokens):
    """Nothing but the model itself can say that a position sees the next one."""
    path = write(Toy(Sdpa(causal=False), Sdpa(causal=False)), tmp_path / "m.pt")
    alone = measure(path, "--tokens", tokens, "--metric", "loss")
    assert alone["metrics"]["loss"]["value"] is None
    flags = ("--tokens", tokens, "--metric", "mixing_jacobian", "--set", "mixing_jacobian.targets=3")
    both = measure(path, *flags, "--metric", "first_token_mass")
    jacobian = measure(path, *flags)
    assert jacobian["metrics"]["mixing_jacobian"] == both["metrics"]["mixing_jacobian"]
    assert measure(path, "--tokens", tokens, "--metric", "hidden_norm", "--verify")["verify"]["logits_bit_identical"] is True


def test_cross_attention_is_a_kind_of_its_own_and_not_in_the_headline(tmp_path, ids, tokens):
    toy = Toy(Sdpa(), Cross())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    query = streams[1] @ toy.blocks[1].attention.query.weight.detach().double().numpy().T
    memory = toy.blocks[1].attention.core.memory.detach().double().numpy()
    scores = query.reshape(BATCH, LENGTH, 2, -1).transpose(0, 2, 1, 3) @ memory.transpose(0, 1, 3, 2) / math.sqrt(toys.WIDTH // 2)
    a = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    metric = report["metrics"]["first_token_mass"]
    np.testing.assert_allclose(metric["per_head"][1], a[..., 0].mean((0, 2)), atol=1e-5)
    assert report["sites"][1]["mask"] == "none"
    assert [s["kind"] for s in report["sites"]] == ["self", "cross"]
    assert metric["value"] == pytest.approx(truth.alpha(sites[0], 0).mean(), abs=1e-5)
    assert {(g["kind"], g["mask"]) for g in metric["by_group"]} == {("self", "causal"), ("cross", "none")}


@pytest.mark.parametrize("core", [RankThree, RankThreeEager])
def test_one_head_without_a_dimension_for_heads_agrees_with_float64(tmp_path, ids, tokens, core):
    toy = Toy(core(), heads=1)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH))
    assert_agrees(measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens), sites, streams)


REPETITIONS = [Repeated, RepeatedBehindPositions, RepeatedBehindPositionsEager, RepeatedBehindPositionsEinsum, Expanded,
               ExpandedEager, Stacked, RepeatedAlongNewDim]


@pytest.mark.parametrize("core", REPETITIONS)
def test_kv_heads_are_counted_before_repetition(tmp_path, ids, tokens, core):
    toy = Toy(core())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    site = truth_of(toy, ids, causal(LENGTH))[0][0]
    first, _ = truth.first_and_others(site.key[:, :1])
    np.testing.assert_allclose(report["metrics"]["key_norm"]["series"]["first"]["data"], [first], rtol=1e-5)
    assert (report["sites"][0]["query_heads"], report["sites"][0]["kv_heads"]) == (2, 1)
    assert np.shape(report["metrics"]["key_norm"]["series"]["ratio"]["data"]) == (1, 1)


class Tied(Toy):
    """One block, used three times."""

    def forward(self, ids):
        x = self.embedding(ids)
        for _ in range(3):
            x = self.blocks[0](x)
        return self.head(x)


def test_a_block_used_three_times_is_three_sites_and_four_streams(tmp_path, ids, tokens):
    toy = Tied(Sdpa())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    toy.blocks = nn.ModuleList([toy.blocks[0]] * 3)
    sites, streams, _ = truth_of(toy, ids, *[causal(LENGTH)] * 3)
    assert_agrees(report, sites, streams)
    assert [(s["ordinal"], s["layer"]) for s in report["sites"]] == [(0, 0), (1, 1), (2, 2)]
    assert len({s["path"] for s in report["sites"]}) == 1
    assert "site_reused" in codes(report)
