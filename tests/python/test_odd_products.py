"""Attention whose products are unlike the usual pair: chained, over shared heads, with learned queries, without a softmax."""


import numpy as np
import pytest
import torch
import torch.nn.functional as F
import truth
from measuring import MEASURES, codes, measure, warning
from torch import nn
from toys import HEADS, LENGTH, SCALE, Sdpa, Toy, Written, assert_agrees, causal, projections, softmax, truth_of, weights_of, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def weights(q, k):
    hidden = torch.ones(q.size(2), k.size(2), dtype=torch.bool).triu(1)
    return torch.softmax((q @ k.transpose(-1, -2) * SCALE).masked_fill(hidden, float("-inf")), -1)


def parts(toy, ids):
    """Queries, keys and values of the first block in float64."""
    return projections(toy, weights_of(toy)["embedding.weight"][ids.numpy()])


def attention(q, k):
    return softmax(q @ k.swapaxes(-1, -2) * SCALE + causal(LENGTH))


def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def written_out(q, k, v):
    return weights(q, k) @ v


CHAINS = {  # the second attention takes what the first gives
    "values": lambda q, k, v: fused(q, k, fused(q, k, v)),
    "values of written-out attention": lambda q, k, v: written_out(q, k, fused(q, k, v)),
    "values from written-out attention": lambda q, k, v: fused(q, k, written_out(q, k, v)),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_attention_over_the_output_of_attention_is_two_sites(tmp_path, ids, tokens, chain):
    toy = Toy(Written(CHAINS[chain]))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    first = truth_of(toy, ids, causal(LENGTH))[0][0]
    assert_agrees(report, [first, truth.Site(first.attention, first.key, first.attention @ first.value)])
    assert report["verify"]["logits_bit_identical"] is True


def test_keys_may_be_the_output_of_attention(tmp_path, ids, tokens):
    toy = Toy(Written(lambda q, k, v: fused(q, fused(q, k, v), v)))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    q, k, v = parts(toy, ids)
    keys = attention(q, k) @ v
    assert_agrees(report, [truth.Site(attention(q, k), k, v), truth.Site(attention(q, keys), keys, v)])


class RelativeValues(nn.Module):
    """Shaw's other half: a table of positions is added to the values, and stands first in the sum."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(64, 8)

    def forward(self, q, k, v):
        p = weights(q, k)
        return p @ self.table(torch.arange(q.size(2))) + p @ v


def twice(x):
    return torch.cat([x[:, :1]] * 2, 1)


def of_first(x):
    return np.repeat(x[:, :1], HEADS, 1)


def same(x):
    return x


SHARED = {  # core; what the account makes of q, k and v
    "one value head": (Written(lambda q, k, v: weights(q, k) @ v[:, :1]), same, same, of_first),
    "one value head, fused": (Written(lambda q, k, v: fused(q, k, v[:, :1])), same, same, of_first),
    "one key head, fused": (Written(lambda q, k, v: fused(q, k[:, :1], v)), same, of_first, same),
    "one matrix": (Written(lambda q, k, v: weights(q[:, :1], k[:, :1]) @ v), of_first, of_first, same),
    "one matrix, fused": (Written(lambda q, k, v: fused(q[:, :1], k[:, :1], v)), of_first, of_first, same),
    "only the repetition of the keys is seen":
        (Written(lambda q, k, v: weights(q, k[:, :1].repeat_interleave(2, 1)) @ twice(v)), same, of_first, of_first),
    "only the repetition of the values is seen":
        (Written(lambda q, k, v: weights(q, twice(k)) @ v[:, :1].repeat_interleave(2, 1)), same, of_first, of_first),
    "only the repetition of the keys is seen, fused":
        (Written(lambda q, k, v: fused(q, k[:, :1].repeat_interleave(2, 1), twice(v))), same, of_first, of_first),
}


@pytest.mark.parametrize("case", SHARED)
def test_heads_that_are_shared_on_one_side_are_counted_as_the_other_has_them(tmp_path, ids, tokens, case):
    core, *account = SHARED[case]
    toy = Toy(core)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    q, k, v = (make(x) for make, x in zip(account, parts(toy, ids), strict=True))
    assert_agrees(report, [truth.Site(attention(q, k), k, v)])
    assert [(s["query_heads"], s["kv_heads"]) for s in report["sites"]] == [(2, 2)]
    assert max(report["verify"]["max_error"].values()) < 1e-5


def test_values_are_those_that_the_input_decides(tmp_path, ids, tokens):
    toy = Toy(RelativeValues())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    assert_agrees(report, truth_of(toy, ids, causal(LENGTH))[0])


class Uneven(nn.Module):
    """Of two KV heads the first serves one query head, the second three."""

    def forward(self, q, k, v):
        return fused(q, *(torch.repeat_interleave(x[:, :2], torch.tensor([1, 3]), dim=1) for x in (k, v)))


def test_heads_repeated_unevenly_are_not_taken_for_even_groups(tmp_path, ids, tokens):
    toy = Toy(Uneven(), heads=4)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    q, k, v = parts(toy, ids)
    k, v = (np.repeat(x[:, :2], [1, 3], axis=1) for x in (k, v))
    a = softmax(q @ k.swapaxes(-1, -2) / 2 + causal(LENGTH))
    assert_agrees(report, [truth.Site(a, k, v)])
    assert report["sites"][0]["kv_heads"] == 4


def by_einsum(scores, values):
    """One KV head in a dim of its own, the query heads behind the positions of the queries."""

    def core(q, k, v):
        q = q.transpose(1, 2).unsqueeze(2)  # b t 1 g d
        k, v = (x[:, :1].transpose(1, 2) for x in (k, v))
        hidden = torch.ones(q.size(1), k.size(1), dtype=torch.bool).triu(1)
        s = (torch.einsum(scores, q, k) * SCALE).masked_fill(hidden, float("-inf"))
        return torch.einsum(values, torch.softmax(s, -1), v).flatten(2, 3).transpose(1, 2)

    return core


def absorbed(q, k, v):
    """As DeepSeek: one key for all heads and without a dim for them, in two parts."""
    q, k, v = q.transpose(1, 2), k[:, 0], v[:, 0]
    hidden = torch.ones(q.size(1), k.size(1), dtype=torch.bool).triu(1)
    s = torch.einsum("bshc,btc->bsht", q[..., :4], k[..., :4]) + torch.einsum("bshr,btr->bsht", q[..., 4:], k[..., 4:])
    p = torch.softmax((s * SCALE).masked_fill(hidden.unsqueeze(1), float("-inf")), -1)
    return torch.einsum("bsht,btc->bshc", p, v).transpose(1, 2)


GROUPED = {
    "heads behind positions": by_einsum("btkgd,bskd->bkgts", "bkgts,bskd->btkgd"),
    "the same in other letters": by_einsum("bikgd,bjkd->bkgij", "bkgij,bjkd->bikgd"),
    "no dim for the KV head": absorbed,
}


@pytest.mark.parametrize("case", GROUPED)
def test_einsums_over_groups_of_heads_agree_with_float64(tmp_path, ids, tokens, case):
    toy = Toy(Written(GROUPED[case]))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    q, k, v = parts(toy, ids)
    k, v = k[:, :1], v[:, :1]
    assert_agrees(report, [truth.Site(attention(q, k), k, v)])
    assert [(s["query_heads"], s["kv_heads"], s["mask"], s["head_dim"]) for s in report["sites"]] == [(2, 1, "causal", 8)]
    assert max(report["verify"]["max_error"].values()) < 1e-5


class Latents(nn.Module):
    """Learned queries read the sequence (Perceiver, Q-Former, DETR), and the sequence reads what they made of it."""

    def __init__(self, fused: bool, mapped: bool):
        super().__init__()
        self.latents, self.fused = nn.Parameter(torch.randn(1, HEADS, 5, 8)), fused
        self.map = nn.Linear(8, 8, bias=False) if mapped else nn.Identity()

    def forward(self, q, k, v):
        latents = self.map(self.latents.expand(q.size(0), -1, -1, -1))
        if self.fused:
            read = F.scaled_dot_product_attention(latents, k, v)
        else:
            read = torch.softmax(latents @ k.transpose(-1, -2) * SCALE, -1) @ v
        return F.scaled_dot_product_attention(q, read, read)


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
@pytest.mark.parametrize("is_fused", [False, True], ids=["written out", "fused"])
def test_learned_queries_are_a_site_however_they_are_written(tmp_path, ids, tokens, is_fused, mapped):
    toy = Toy(Latents(is_fused, mapped))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    core, (q, k, v) = toy.blocks[0].attention.core, parts(toy, ids)
    with torch.no_grad():
        latents = core.map(core.latents).double().numpy()
    first = softmax(latents @ k.swapaxes(-1, -2) * SCALE)
    read = first @ v
    assert_agrees(report, [truth.Site(first, k, v), truth.Site(softmax(q @ read.swapaxes(-1, -2) * SCALE), read, read)])
    assert not report["unmatched"]


def test_a_constant_factor_behind_the_softmax_scales_the_output_alone(tmp_path, ids, tokens):
    toy = Toy(Written(lambda q, k, v: (weights(q, k) * 0.5) @ v))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    site = truth_of(toy, ids, causal(LENGTH))[0][0]
    output = report["metrics"]["head_output_norm"]["per_head"][0]
    np.testing.assert_allclose(output, 0.5 * site.output_norm.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(report["metrics"]["first_token_mass"]["per_head"][0], truth.alpha(site, 0).mean(0), atol=1e-5)


def visible(q):
    return torch.ones(q.size(2), q.size(2)).tril()


def exp_over_sum(q, k, v):
    e = torch.exp(q @ k.transpose(-1, -2) * SCALE) * visible(q)
    return (e / e.sum(-1, keepdim=True)) @ v


UNMEASURED = {
    "relu": lambda q, k, v: (torch.relu(q @ k.transpose(-1, -2) * SCALE) * visible(q) / q.size(2)) @ v,
    "exp over its sum": exp_over_sum,
    "linear": lambda q, k, v: F.elu(q) @ (F.elu(k).transpose(-1, -2) @ v),
    "retention": lambda q, k, v: torch.einsum("bhqk,bhkd->bhqd", q @ k.transpose(-1, -2) * visible(q), v),
}


@pytest.mark.parametrize("case", UNMEASURED)
def test_attention_without_a_softmax_is_warned_of(tmp_path, tokens, case):
    toy = Toy(Sdpa(), Written(UNMEASURED[case]))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    assert len(report["sites"]) == 1
    assert [u["path"] for u in report["unmatched"]] == ["blocks.1.attention.core"]
    assert "blocks.1.attention.core" in warning(report, "unmatched_softmax")


class Mixture(nn.Module):
    """Attention, then experts: each token's rows of a table of matrices, mixed by a softmax of its own."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(8, 3)
        self.up, self.down = nn.Parameter(torch.randn(3, 8, 16)), nn.Parameter(torch.randn(3, 16, 8))

    def forward(self, q, k, v):
        x = fused(q, k, v)
        best = self.router(x).argmax(-1)
        hidden = F.silu(torch.matmul(x.unsqueeze(-2), self.up[best]))
        chosen = torch.matmul(hidden, self.down[best]).squeeze(-2)
        every = torch.stack([F.silu(x @ self.up[e]) @ self.down[e] for e in range(3)], -2)
        return chosen + torch.matmul(torch.softmax(self.router(x), -1).unsqueeze(-2), every).squeeze(-2)


def test_experts_are_not_taken_for_attention(tmp_path, tokens):
    report = measure(write(Toy(Mixture()), tmp_path / "m.pt"), "--tokens", tokens)
    assert len(report["sites"]) == 1 and "unmatched_softmax" not in codes(report)
