"""Models that use the operators of this project: windows, chunks, soft caps and learned sinks fused, attention by a mark.

Each is compared with a float64 account of the same weights; the files are made with the operators' twins in Python.
"""

import copy
import math

import numpy as np
import pytest
import torch
import toys
import truth
from measuring import MEASURES, codes, measure, refused, sinkscope, warning
from sinkscope_export import operators
from torch import Tensor, nn
from toys import BATCH, LENGTH, WINDOW, Sdpa, Toy, assert_agrees, causal, softmax, truth_of, write

HEADS = 2
CHUNK = 8  # keys of a chunk
CAP = 0.7  # of the logits; small enough to matter
SINKS = (0.4, -0.8)

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


class Fused(nn.Module):
    def __init__(self, window: int = 0, chunk: int = 0, softcap: float = 0.0, sinks: bool = False):
        super().__init__()
        self.window, self.chunk, self.softcap = window, chunk, softcap
        self.register_buffer("sinks", torch.tensor(SINKS) if sinks else None)

    def forward(self, q, k, v):
        return operators.fused_attention(q, k, v, None, self.window, self.chunk, self.softcap, self.sinks)

    def attend(self, scores: np.ndarray) -> np.ndarray:
        """Attention of the scores q.k / sqrt(D) [N, H, T, T]: what the operator must do."""
        length = scores.shape[-1]
        i, j = np.arange(length)[:, None], np.arange(length)[None, :]
        visible = (j <= i) & ((i - j < self.window) | (self.window == 0))
        if self.chunk:
            visible &= i // self.chunk == j // self.chunk
        if self.softcap:
            scores = self.softcap * np.tanh(scores / self.softcap)
        scores = np.where(visible, scores, -np.inf)
        if self.sinks is None:
            return softmax(scores)
        column = np.broadcast_to(self.sinks.double().numpy()[:, None, None], (*scores.shape[:-1], 1))
        return softmax(np.concatenate([scores, column], -1))[..., :-1]


def fused_truth(toy: Toy, ids: Tensor):
    return truth_of(toy, ids, *[np.zeros(())] * len(toy.blocks),
                    weights=lambda block, scores: toy.blocks[block].attention.core.attend(scores))


CASES = {  # core, mask, width that the report names
    "nothing": (Fused(), "causal", None),
    "window": (Fused(window=WINDOW), "window", WINDOW),
    "window longer than the sequence": (Fused(window=LENGTH + 5), "window", LENGTH + 5),
    "window of two": (Fused(window=2), "window", 2),
    "chunk": (Fused(chunk=CHUNK), "chunk", CHUNK),
    "window in chunks": (Fused(window=3, chunk=CHUNK), "other", None),
    "soft cap": (Fused(softcap=CAP), "causal", None),
    "sinks": (Fused(sinks=True), "causal", None),
    "window, cap and sinks": (Fused(window=WINDOW, softcap=CAP, sinks=True), "window", WINDOW),
    "all": (Fused(window=3, chunk=CHUNK, softcap=CAP, sinks=True), "other", None),
}


@pytest.mark.parametrize("case", CASES)
def test_fused_attention_agrees_with_float64_whatever_its_arguments(tmp_path, ids, tokens, case):
    core, mask, width = CASES[case]
    toy = Toy(core, copy.deepcopy(core))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    sites, streams, logits = fused_truth(toy, ids)
    assert_agrees(report, sites, streams)
    for site in report["sites"]:
        assert (site["pattern"], site["measured_by"], site["reason"]) == ("fused_attention", "fused", None)
        assert (site["mask"], site["window"]) == (mask, width)
        assert site["softcap"] == (core.softcap or None)
        assert (site["learned_sink"], site["row_sum"]) == ((True, "with_sink") if core.sinks is not None else (False, "one"))
        assert (site["query_heads"], site["kv_heads"], site["head_dim"]) == (HEADS, HEADS, toys.WIDTH // HEADS)
    assert report["verify"]["logits_bit_identical"] is True
    assert report["verify"]["prefix_consistent"] is True
    assert max(report["verify"]["max_error"].values()) < 1e-5
    expected = truth.next_token_loss(logits, ids.numpy())
    np.testing.assert_allclose(report["metrics"]["loss"]["per_sequence"], expected, rtol=1e-5)
    assert not codes(report) & {"unmatched_softmax", "no_loss"}


def test_what_a_learned_sink_takes_is_measured_and_key_0_renormalised_beside_it(tmp_path, ids, tokens):
    toy = Toy(Fused(sinks=True), Sdpa())
    cores = [block.attention.core for block in toy.blocks]
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, _, _ = truth_of(toy, ids, np.zeros(()), causal(LENGTH),
                           weights=lambda block, scores: softmax(scores) if block else cores[0].attend(scores))
    mass = 1 - sites[0].attention.sum(-1)  # [N, H, T]
    metric = report["metrics"]["learned_sink_mass"]
    np.testing.assert_allclose(metric["per_head"][0], mass.mean((0, 2)), atol=1e-6)
    assert metric["per_head"][1] == [None, None] and metric["per_site"][1] is None
    assert metric["value"] == pytest.approx(mass.mean(), abs=1e-6)
    assert metric["count"] == BATCH * HEADS and metric["uniform"] is None
    renormalised = (sites[0].attention[..., 0] / (1 - mass)).mean((0, 2))
    np.testing.assert_allclose(report["metrics"]["first_token_mass"]["series"]["renormalised"]["data"][0], renormalised, atol=1e-6)


def test_without_a_learned_sink_there_is_no_mass_of_one(tmp_path, tokens):
    metric = measure(write(Toy(Sdpa()), tmp_path / "m.pt"), "--tokens", tokens)["metrics"]["learned_sink_mass"]
    assert metric["value"] is None and metric["count"] == 0 and metric["rejected"] == 0


class Grouped(Fused):
    """Both query heads read the first KV head."""

    def forward(self, q, k, v):
        return super().forward(q, k[:, :1], v[:, :1])


def test_grouped_kv_heads_of_fused_attention_are_counted_once(tmp_path, ids, tokens):
    toy = Toy(Grouped(window=WINDOW, sinks=True))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    assert (report["sites"][0]["query_heads"], report["sites"][0]["kv_heads"]) == (2, 1)
    key = truth_of(toy, ids, np.zeros(()), weights=lambda _, scores: softmax(scores))[0][0].key[:, :1]
    first, _ = truth.first_and_others(key)
    np.testing.assert_allclose(report["metrics"]["key_norm"]["series"]["first"]["data"], [first], rtol=1e-5)
    assert np.shape(report["metrics"]["value_norm"]["series"]["ratio"]["data"]) == (1, 1)


def test_full_and_windowed_fused_sites_have_a_value_each(tmp_path, ids, tokens):
    toy = Toy(Fused(), Fused(window=WINDOW))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, streams, _ = fused_truth(toy, ids)
    assert_agrees(report, sites, streams)
    assert warning(report, "window_hides_key_0")
    groups = {g["mask"]: g for g in report["metrics"]["first_token_mass"]["by_group"]}
    assert groups.keys() == {"causal", "window"}
    assert groups["window"]["uniform"] == pytest.approx(truth.harmonic(WINDOW) / LENGTH, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fused_attention_in_16_bit_is_verified(tmp_path, tokens, dtype):
    toy = Toy(Fused(window=WINDOW, sinks=True), Fused(softcap=CAP), Fused(chunk=CHUNK)).to(dtype)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    assert report["verify"]["logits_bit_identical"] is True
    assert max(report["verify"]["max_error"].values()) < 2e-2
    assert report["metrics"]["first_token_mass"]["rejected"] == 0


def test_the_jacobian_goes_through_fused_attention(tmp_path, ids, tokens):
    toy = Toy(Fused(window=WINDOW, softcap=CAP, sinks=True), Fused(chunk=CHUNK, sinks=True)).double()
    report = measure(write(toy.float(), tmp_path / "m.pt"), "--tokens", tokens, "--limit", 1, "--metric", "mixing_jacobian",
                     "--set", "mixing_jacobian.probes=0")
    toy.double()

    def last_state(x: Tensor) -> Tensor:
        for block in toy.blocks:
            x = block(x)
        return x[0, -1]

    # The twin computes its softmax in float32, which still differentiates to six digits.
    jacobian = torch.autograd.functional.jacobian(last_state, toy.embedding(ids[:1]).detach())[:, 0]  # [d, T, d]
    expected = jacobian.pow(2).sum((0, 2)).sqrt().numpy()
    np.testing.assert_allclose(report["metrics"]["mixing_jacobian"]["series"]["norm"]["data"][0], expected, rtol=1e-4, atol=1e-6)


def test_inspect_says_that_a_graph_needs_the_operators_and_what_they_do(tmp_path, tokens):
    path = write(Toy(Fused(window=WINDOW, softcap=CAP, sinks=True), Sdpa()), tmp_path / "m.pt")
    text = sinkscope("inspect", path).stdout
    assert "sinkscope::fused_attention" in text.split("attention sites")[0]
    assert f"window of {WINDOW}" in text and f"soft cap {CAP}" in text and "learned sink" in text
    plain = sinkscope("inspect", write(Toy(Sdpa()), tmp_path / "plain.pt")).stdout
    assert "sinkscope::" not in plain


class Marked(nn.Module):
    """Causal attention of any kind, declared by a mark; `single`: the mark is on [B, T, T]."""

    def __init__(self, kind: str, name: str = "weights", probability: bool = False, single: bool = False):
        super().__init__()
        self.kind, self.name, self.probability, self.single = kind, name, probability, single

    def forward(self, q, k, v):
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(int(q.size(-1)))
        hidden = torch.ones(q.size(2), k.size(2), dtype=torch.bool).triu(1)
        if self.kind == "softmax":
            weights = torch.softmax(scores.masked_fill(hidden, float("-inf")), -1)
        elif self.kind == "sigmoid":
            weights = torch.sigmoid(scores).masked_fill(hidden, 0)
        else:  # identity kernel: weights of either sign
            weights = scores.masked_fill(hidden, 0)
        if self.single:
            return torch.matmul(operators.attention(weights[:, 0], self.name, self.probability)[:, None], v)
        return torch.matmul(operators.attention(weights, self.name, self.probability), v)

    def attend(self, scores: np.ndarray) -> np.ndarray:
        visible = np.tri(scores.shape[-1], dtype=bool)
        if self.kind == "softmax":
            return softmax(np.where(visible, scores, -np.inf))
        return np.where(visible, 1 / (1 + np.exp(-scores)) if self.kind == "sigmoid" else scores, 0)


def test_marked_softmax_is_one_site_and_gives_what_it_gives_unmarked(tmp_path, ids, tokens):
    toy = Toy(Marked("softmax", "mine", probability=True))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    site = report["sites"][0]
    assert len(report["sites"]) == 1 and report["unmatched"] == []
    assert (site["measured_by"], site["row_sum"], site["mask"]) == ("marked", "one", "causal")
    assert site["path"] == "blocks.0.attention.core.mine" and site["layer"] == 0
    assert (site["kv_heads"], site["head_dim"]) == (None, None)
    truth_site = fused_truth(toy, ids)[0][0]
    metrics = report["metrics"]
    np.testing.assert_allclose(metrics["first_token_mass"]["per_head"][0], truth.alpha(truth_site, 0).mean(0), atol=1e-6)
    np.testing.assert_allclose(metrics["attention_entropy"]["per_head"][0], truth.entropies(truth_site).mean((0, 2)), atol=1e-5)
    position, mass = truth.dominant_key(truth_site)
    np.testing.assert_allclose(metrics["dominant_key"]["series"]["mass"]["data"][0], mass, atol=1e-6)
    assert metrics["dominant_key"]["series"]["position"]["data"][0] == position.tolist()
    for name in ("key_norm", "value_norm", "head_output_norm", "dormant_head", "learned_sink_mass"):
        assert metrics[name]["value"] is None and metrics[name]["rejected"] == 0, name
    assert report["verify"]["logits_bit_identical"] is True
    assert len(report["streams"]) == 2 and metrics["loss"]["value"] is not None


@pytest.mark.parametrize("kind", ["sigmoid", "identity"])
def test_weights_of_any_sum_are_reported_raw_and_their_sink_by_the_proxy(tmp_path, ids, tokens, kind):
    toy = Toy(Marked(kind))
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens, "--verify")
    weights = fused_truth(toy, ids)[0][0].attention
    proxy = np.abs(weights) / (np.abs(weights).sum(-1, keepdims=True) + 1e-8)
    assert report["sites"][0]["row_sum"] == "free"
    metrics = report["metrics"]
    mass = metrics["first_token_mass"]
    np.testing.assert_allclose(mass["per_head"][0], weights[..., 0].mean((0, 2)), atol=1e-5)
    np.testing.assert_allclose(mass["series"]["renormalised"]["data"][0], proxy[..., 0].mean((0, 2)), atol=1e-5)
    assert mass["rejected"] == 0
    alpha = proxy[..., 0].mean(-1)
    np.testing.assert_allclose(metrics["sink_rate"]["per_head"][0], (alpha > 0.3).mean(0), atol=1e-9)
    by_key = [(proxy[..., k].sum(-1) / (LENGTH - k) > 0.3).mean() for k in range(10)]
    np.testing.assert_allclose(metrics["sink_rate"]["series"]["by_key"]["data"], by_key, atol=1e-9)
    if kind == "sigmoid":
        entropy = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(-1)
        np.testing.assert_allclose(metrics["attention_entropy"]["per_head"][0], entropy.mean((0, 2)), rtol=1e-5)
    else:
        assert metrics["attention_entropy"]["value"] is None and metrics["attention_entropy"]["rejected"] == 0


def test_a_mark_without_a_dimension_for_heads_is_one_head(tmp_path, ids, tokens):
    toy = Toy(Marked("sigmoid", single=True), heads=1)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    weights = fused_truth(toy, ids)[0][0].attention
    assert report["sites"][0]["query_heads"] == 1
    np.testing.assert_allclose(report["metrics"]["first_token_mass"]["per_head"][0], weights[..., 0].mean((0, 2)), atol=1e-5)


def test_rows_that_were_declared_probabilities_and_are_none_are_a_finding(tmp_path, tokens):
    path = write(Toy(Marked("sigmoid", probability=True)), tmp_path / "m.pt")
    report = measure(path, "--tokens", tokens, code=5)
    assert report["metrics"]["first_token_mass"]["value"] is None
    assert report["metrics"]["first_token_mass"]["rejected"] == BATCH * HEADS


class MarkedScores(nn.Module):
    def forward(self, q, k, v):
        return operators.attention(torch.matmul(q, k.transpose(-1, -2))[None], "bad", False)[0] @ v


def test_a_mark_on_a_tensor_of_another_rank_is_refused(tmp_path, tokens):
    message = refused("measure", write(Toy(MarkedScores()), tmp_path / "m.pt"), "--tokens", tokens, code=3)
    assert "marked attention" in message and f"1 x {BATCH} x {HEADS}" in message and "blocks.0.attention.core.bad" in message
