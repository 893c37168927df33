"""Attention written out in every spelling, each against the float64 account of the same weights.

All cores compute causal softmax attention of q, k, v [B, heads, T, D] scaled by 1 / sqrt(D), unless their row says otherwise.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import truth
from measuring import MEASURES, codes, measure, refused, write_tokens
from torch import Tensor, nn
from toys import HEADS, LENGTH, SCALE, Toy, Written, assert_agrees, causal, ids_of, projections, truth_of, weights_of, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def hidden(q, dim=-2):
    return torch.ones(q.size(dim), q.size(dim), dtype=torch.bool).triu(1)


def scores_of(q, k):
    return torch.matmul(q, k.transpose(-1, -2)) * SCALE


def in_place(q, k, v):
    scores = torch.matmul(q, k.transpose(2, 3)).div_(math.sqrt(q.size(-1)))
    return torch.matmul(torch.softmax(scores.masked_fill_(hidden(q), float("-inf")), -1), v)


def where_without_scale(q, k, v):
    lowest = torch.tensor(torch.finfo(q.dtype).min)
    scores = torch.where(hidden(q), lowest, torch.matmul(q * SCALE, k.transpose(-1, -2)))
    return torch.matmul(F.dropout(torch.softmax(scores, -1), 0.1, training=False), v)


def merged(x):
    return x.reshape(-1, x.size(2), x.size(3))


def by_bmm(q, k, v):
    scores = torch.bmm(merged(q), merged(k).transpose(1, 2)) * SCALE
    weights = torch.softmax(scores.masked_fill(hidden(q), -1e9), 2)
    return torch.bmm(weights, merged(v)).view(q.size(0), HEADS, q.size(2), -1)


def by_bmm_heads_first(q, k, v):
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    scores = torch.bmm(merged(q), merged(k).transpose(1, 2)) * SCALE
    weights = torch.softmax(scores.masked_fill(hidden(q), -1e9), 2)
    return torch.bmm(weights, merged(v)).view(HEADS, q.size(1), q.size(2), -1).transpose(0, 1)


def heads_before_the_batch(q, k, v):
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return torch.matmul(torch.softmax(scores_of(q, k).masked_fill(hidden(q), -1e9), -1), v).transpose(0, 1)


def sdpa_with_heads_before_the_batch(q, k, v):
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1)


def by_baddbmm(q, k, v):
    """As BLOOM: the product adds to a bias, heads are split off for the softmax and merged again."""
    bias = torch.zeros(q.size(0) * HEADS, 1, q.size(2))
    scores = torch.baddbmm(bias, merged(q), merged(k).transpose(-1, -2), beta=1.0, alpha=SCALE)
    scores = scores.view(q.size(0), HEADS, q.size(2), -1)
    mask = torch.zeros(q.size(2), q.size(2)).masked_fill(hidden(q), torch.finfo(q.dtype).min)
    weights = torch.softmax(scores + mask, -1, dtype=torch.float32).to(q.dtype)
    mixed = torch.bmm(weights.view(q.size(0) * HEADS, q.size(2), -1), merged(v))
    return mixed.view(q.size(0), HEADS, q.size(2), -1)


def by_einsum(q, k, v):
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * SCALE
    return torch.einsum("bhqk,bhkd->bhqd", torch.softmax(scores.masked_fill(hidden(q), -1e9), -1), v)


def by_einsum_length_first(q, k, v):
    """As XLNet: queries, keys, batch, heads."""
    q, k, v = (x.permute(2, 0, 1, 3) for x in (q, k, v))
    scores = torch.einsum("ibnd,jbnd->ijbn", q, k) * SCALE
    scores = scores - 1e30 * hidden(q, 0)[:, :, None, None].to(q.dtype)
    return torch.einsum("ijbn,jbnd->ibnd", torch.softmax(scores, 1), v).permute(1, 2, 0, 3)


def keys_on_the_left(q, k, v):
    scores = torch.matmul(k, q.transpose(-1, -2)) * SCALE
    weights = torch.softmax(scores.masked_fill(hidden(q).T, float("-inf")), -2)
    return torch.matmul(weights.transpose(-1, -2), v)


def log_softmax(q, k, v):
    scores = scores_of(q, k).masked_fill(hidden(q), float("-inf"))
    return F.log_softmax(scores, -1).exp() @ v


def log_sum_exp(q, k, v):
    scores = scores_of(q, k).masked_fill(hidden(q), float("-inf"))
    return torch.exp(scores - torch.logsumexp(scores, -1, keepdim=True)) @ v


def masked_softmax(q, k, v):
    """The operator applies the mask itself."""
    return torch._masked_softmax(scores_of(q, k), hidden(q).expand(q.size(0), HEADS, -1, -1), -1) @ v


def safe_softmax(q, k, v):
    return torch.ops.aten._safe_softmax(scores_of(q, k).masked_fill(hidden(q), float("-inf")), -1) @ v


def two_products(q, k, v):
    """As DeepSeek: a part of each query and key with positions, a part without."""
    scores = q[..., :3] @ k[..., :3].transpose(-1, -2) + torch.einsum("bhqd,bhkd->bhqk", q[..., 3:], k[..., 3:])
    return torch.softmax((scores * SCALE).masked_fill(hidden(q), float("-inf")), -1) @ v


def zeroed_behind(q, k, v):
    """A mask that is applied again to the probabilities."""
    weights = torch.softmax(scores_of(q, k).masked_fill(hidden(q), -1e4), -1).masked_fill(hidden(q), 0.0)
    return weights @ v


def sdpa_of_merged_heads(q, k, v):
    mixed = F.scaled_dot_product_attention(merged(q), merged(k), merged(v), is_causal=True)
    return mixed.view(q.size(0), HEADS, q.size(2), -1)


def heads_joined(q, k, v):
    """As Kyubyong Park's transformer: one head behind the other along the batch."""
    q, k, v = (torch.cat([x[:, head] for head in range(HEADS)], 0) for x in (q, k, v))
    weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)).mul(SCALE).masked_fill(hidden(q), -1e9), -1)
    return torch.stack(torch.bmm(weights, v).chunk(HEADS, 0), 1)


def heads_unflattened(q, k, v):
    q, k, v = (x.transpose(0, 1).flatten(0, 1) for x in (q, k, v))
    weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)).mul(SCALE).masked_fill(hidden(q), -1e9), -1)
    return torch.bmm(weights, v).unflatten(0, (HEADS, -1)).transpose(0, 1)


def sdpa_of_merged_heads_first(q, k, v):
    batch = q.size(0)
    q, k, v = (x.transpose(0, 1).flatten(0, 1) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed.view(HEADS, batch, q.size(1), -1).transpose(0, 1)


def sdpa_of_one_head(q, k, v):
    """Heads in the batch, and a dim of one where heads are expected."""
    mixed = F.scaled_dot_product_attention(*(x.flatten(0, 1).unsqueeze(1) for x in (q, k, v)), is_causal=True)
    return mixed.squeeze(1).view(q.size(0), HEADS, q.size(2), -1)


def one_head(q, k, v):
    batch = q.size(0)
    q, k, v = (x.flatten(0, 1).unsqueeze(1) for x in (q, k, v))
    mixed = torch.softmax(scores_of(q, k).masked_fill(hidden(q), -1e9), -1) @ v
    return mixed.squeeze(1).view(batch, HEADS, q.size(2), -1)


def one_head_first(q, k, v):
    q, k, v = (x.transpose(0, 1).flatten(0, 1).unsqueeze(1) for x in (q, k, v))
    mixed = torch.softmax(scores_of(q, k).masked_fill(hidden(q), -1e9), -1) @ v
    return mixed.squeeze(1).unflatten(0, (HEADS, -1)).transpose(0, 1)


def groups(q, k, v):
    """Five dims: query heads of a KV head share a dim of their own."""
    q, k, v = (x.unsqueeze(2) for x in (q, k, v))
    scores = torch.matmul(q, k.transpose(-1, -2)) * SCALE
    return torch.matmul(torch.softmax(scores.masked_fill(hidden(q), -1e9), -1), v).squeeze(2)


SPELLINGS = [in_place, where_without_scale, by_bmm, by_bmm_heads_first, heads_before_the_batch, by_baddbmm, by_einsum, by_einsum_length_first,
             keys_on_the_left, log_softmax, log_sum_exp, masked_softmax, safe_softmax, two_products, zeroed_behind,
             sdpa_of_merged_heads, groups]
MERGED = [heads_joined, heads_unflattened, sdpa_of_merged_heads_first, sdpa_of_one_head, one_head, one_head_first]


@pytest.mark.parametrize("spelling", SPELLINGS + MERGED, ids=lambda f: f.__name__)
def test_every_spelling_of_causal_attention_agrees_with_float64(tmp_path, ids, tokens, spelling):
    toy = Toy(Written(spelling), Written(spelling))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    assert_agrees(report, sites, streams)
    assert {(s["mask"], s["kind"], s["query_heads"], s["head_dim"]) for s in report["sites"]} == {("causal", "self", 2, 8)}
    assert report["verify"]["logits_bit_identical"] is True
    assert max(report["verify"]["max_error"].values()) < 1e-5
    assert not report["unmatched"]


FEW = [by_einsum, by_bmm, by_bmm_heads_first, by_einsum_length_first, heads_before_the_batch, sdpa_with_heads_before_the_batch]


@pytest.mark.parametrize(("sequences", "batch"), [(1, 1), (2, 2), (3, 2), (5, 3)])
@pytest.mark.parametrize("spelling", FEW + MERGED, ids=lambda f: f.__name__)
def test_as_many_sequences_as_heads_are_not_mixed_up_with_them(tmp_path, spelling, sequences, batch):
    toy = Toy(Written(spelling))
    ids = ids_of(sequences, LENGTH)
    tokens = write_tokens(tmp_path / "t.jsonl", ids.tolist())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--batch", batch, "--verify")
    assert_agrees(report, *truth_of(toy, ids, causal(LENGTH))[:2])
    assert not codes(report) & {"site_in_loop"}


class OneBatch(Toy):
    """Two sequences are baked in, as many as heads."""

    def forward(self, ids):
        return self.head(self.blocks[0](self.embedding(ids) + 0 * ids.view(2, -1, 1)))


def test_where_no_other_batch_runs_heads_are_not_guessed(tmp_path):
    ids = ids_of(2, LENGTH)
    path = write(OneBatch(Written(by_einsum)), tmp_path / "m.pt")
    tokens = write_tokens(tmp_path / "t.jsonl", ids.tolist())
    error = refused("measure", path, "--tokens", tokens, "--batch", 2, code=3)
    assert "heads and sequences cannot be told apart" in error and "--batch" in error


class Sinks(nn.Module):
    """As GPT-OSS: one logit a head stands beside the scores in the softmax and is dropped before the values."""

    def __init__(self):
        super().__init__()
        self.sinks = nn.Parameter(torch.tensor([0.7, -1.3]))

    def forward(self, q, k, v):
        scores = scores_of(q, k).masked_fill(hidden(q), torch.finfo(q.dtype).min)
        sinks = self.sinks.reshape(1, -1, 1, 1).expand(q.size(0), -1, q.size(2), -1)
        combined = torch.cat([scores, sinks], dim=-1)
        combined = combined - combined.max(dim=-1, keepdim=True).values
        return torch.matmul(torch.softmax(combined, -1, dtype=combined.dtype)[..., :-1], v)


class PaddedSink(Sinks):
    """One logit for all heads, put in front of the scores by a pad."""

    def forward(self, q, k, v):
        scores = scores_of(q, k).masked_fill(hidden(q), float("-inf"))
        return torch.softmax(F.pad(scores, (1, 0), value=0.5), -1)[..., 1:] @ v


def test_a_padded_column_is_a_sink_with_the_logit_of_the_pad(tmp_path, ids, tokens):
    toy = Toy(PaddedSink(), PaddedSink())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    toy.blocks[0].attention.core.sinks.data = torch.tensor([0.5, 0.5])
    report["sites"] = report["sites"][:1]
    assert_agrees(report, [sink_site(toy, ids)])
    assert {(s["pattern"], s["row_sum"], s["learned_sink"]) for s in report["sites"]} == {("learned_sink", "with_sink", True)}
    assert max(report["verify"]["max_error"].values()) < 1e-5


def test_learned_sinks_take_their_share_of_every_row(tmp_path, ids, tokens):
    toy = Toy(Sinks(), Sinks())
    for block, sinks in zip(toy.blocks, ([0.7, -1.3], [2.0, 0.1]), strict=True):
        block.attention.core.sinks.data = torch.tensor(sinks)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    site = sink_site(toy, ids)
    report["sites"] = report["sites"][:1]
    assert_agrees(report, [site])
    assert {(s["pattern"], s["row_sum"], s["learned_sink"]) for s in report["sites"]} == {("learned_sink", "with_sink", True)}
    assert max(report["verify"]["max_error"].values()) < 1e-5


def sink_site(toy, ids):
    """The first block's attention over the keys alone: its rows sum to less than one."""
    plain = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))[0][0]
    core = toy.blocks[0].attention.core
    q = projections(toy, weights_of(toy)["embedding.weight"][ids.numpy()])[0]
    scores = np.exp(q @ plain.key.transpose(0, 1, 3, 2) * SCALE + causal(LENGTH))
    sinks = np.exp(core.sinks.detach().double().numpy())[None, :, None, None]
    return truth.Site(scores / (scores.sum(-1, keepdims=True) + sinks), plain.key, plain.value)


class Heads(nn.Module):
    """A head at a time, as in many a lecture."""

    def forward(self, q, k, v):
        mixed = []
        for head in range(HEADS):
            scores = scores_of(q[:, head], k[:, head]).masked_fill(hidden(q), float("-inf"))
            mixed.append(torch.softmax(scores, -1) @ v[:, head])
        return torch.stack(mixed, 1)


def test_heads_in_a_loop_are_a_site_each(tmp_path, ids, tokens):
    toy = Toy(Heads(), Heads())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    one_each = [truth.Site(s.attention[:, h : h + 1], s.key[:, h : h + 1], s.value[:, h : h + 1]) for s in sites for h in range(HEADS)]
    assert_agrees(report, one_each, streams)
    assert [(s["layer"], s["ordinal"], s["query_heads"]) for s in report["sites"]] == [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1)]
    assert "site_reused" in codes(report)


class Scripted(nn.Module):
    """torch.jit.script keeps the branches that functional softmax and dropout have inside."""

    def __init__(self):
        super().__init__()
        self.drop, self.scale = nn.Dropout(0.1), SCALE

    def weights(self, scores: Tensor) -> Tensor:
        return F.softmax(scores, dim=-1)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        hidden = torch.ones(q.size(2), q.size(2), dtype=torch.bool, device=q.device).triu(1)
        weights = self.weights((torch.matmul(q, k.transpose(-1, -2)) * self.scale).masked_fill(hidden, float("-inf")))
        if self.training:
            weights = F.dropout(weights, 0.1)
        return torch.matmul(self.drop(weights), v)


class ScriptedModules(Scripted):
    def __init__(self):
        super().__init__()
        self.softmax = nn.Softmax(dim=-1)

    def weights(self, scores: Tensor) -> Tensor:
        return F.dropout(self.softmax(scores), 0.1, training=self.training)


@pytest.mark.parametrize("core", [Scripted, ScriptedModules])
def test_scripted_attention_agrees_with_float64(tmp_path, ids, tokens, core):
    toy = Toy(core(), core())
    report = measure(write(toy, tmp_path / "m.pt", script=True), "--tokens", tokens, "--verify")
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    assert_agrees(report, sites, streams)
    assert [(s["layer"], s["pattern"], s["mask"]) for s in report["sites"]] == [(0, "softmax", "causal"), (1, "softmax", "causal")]
    assert report["verify"]["logits_bit_identical"] is True
    assert not report["unmatched"]
