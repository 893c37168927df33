"""Models unlike the usual traced decoder: masks of every kind, shared blocks, scripts, other dtypes, tiny shapes.

Each is compared with the float64 account of the same weights in truth.py.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toys
import truth
from measuring import MEASURES, codes, measure, refused, warning, write_tokens
from toys import Eager, Sdpa, Toy, causal, ids_of, truth_of, write
from torch import Tensor, nn

BATCH, LENGTH, WINDOW = 3, 20, 6
FLAT = np.zeros((LENGTH, LENGTH))

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def window(length: int = LENGTH) -> np.ndarray:
    return np.where(np.triu(np.tri(length, dtype=bool), 1 - WINDOW), 0.0, -np.inf)


def alibi(heads: int, length: int = LENGTH) -> np.ndarray:
    distance = np.arange(length)[None, :] - np.arange(length)[:, None]
    return np.stack([distance * 2.0 ** -(h + 1) for h in range(heads)]) + causal(length)


class Windowed(nn.Module):
    """SDPA with an explicit boolean mask."""

    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        distance = position[:, None] - position[None, :]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=(distance >= 0) & (distance < WINDOW))


class Alibi(nn.Module):
    """SDPA with a float mask of its own for every head."""

    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        distance = position[None, :] - position[:, None]
        slope = 2.0 ** -(torch.arange(q.size(1)) + 1.0)
        hidden = torch.zeros(distance.shape).masked_fill(distance > 0, float("-inf"))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=slope[None, :, None, None] * distance + hidden)


class CausalByMask(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(q.size(2), q.size(2), dtype=torch.bool).tril())


class EagerWindow(nn.Module):
    def forward(self, q, k, v):
        position = torch.arange(q.size(2))
        distance = position[:, None] - position[None, :]
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.size(-1))
        scores = scores.masked_fill((distance < 0) | (distance >= WINDOW), torch.finfo(scores.dtype).min)
        return torch.matmul(F.dropout(torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype), 0.0), v)


class EagerOpen(nn.Module):
    """Bidirectional, the scale applied to q, the keys transposed by permute's sibling mT."""

    def forward(self, q, k, v):
        return torch.softmax((q / math.sqrt(q.size(-1))) @ k.transpose(-2, -1), dim=3) @ v


class Repeated(nn.Module):
    """Two query heads on one KV head, repeated by expand and reshape as transformers does."""

    def forward(self, q, k, v):
        k, v = (x[:, :1][:, :, None].expand(-1, 1, q.size(1), x.size(2), -1).reshape(q.shape) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def assert_agrees(report, sites, streams=None, *, tolerance=1e-5, causal_sites=None):
    """Site and stream statistics of a report against the float64 account."""
    metrics = report["metrics"]
    assert len(report["sites"]) == len(sites)
    causal_sites = causal_sites or [True] * len(sites)
    for number, (site, is_causal) in enumerate(zip(sites, causal_sites, strict=True)):
        alpha = truth.alpha(site, 0)
        np.testing.assert_allclose(metrics["first_token_mass"]["per_head"][number], alpha.mean(0), atol=tolerance)
        rates = [[(truth.alpha(site, k, causal=is_causal) > e).mean(0) for e in (0.3,)] for k in (0,)]
        np.testing.assert_allclose(metrics["sink_rate"]["per_head"][number], rates[0][0], atol=1e-9)
        np.testing.assert_allclose(metrics["attention_entropy"]["per_head"][number], truth.entropies(site).mean((0, 2)), atol=tolerance)
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


@pytest.fixture(scope="session")
def ids():
    return ids_of(BATCH, LENGTH)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory, ids):
    return write_tokens(tmp_path_factory.mktemp("tokens") / "t.jsonl", ids.tolist())


KINDS = {  # core, bias of every block, mask, measured_by
    "sdpa": (Sdpa, causal(LENGTH), "causal", "fused"),
    "sdpa with a causal mask tensor": (CausalByMask, causal(LENGTH), "causal", "fused"),
    "sdpa, bidirectional": (lambda: Sdpa(causal=False), FLAT, "none", "fused"),
    "sdpa with a window mask": (Windowed, window(), "window", "fused"),
    "sdpa with ALiBi": (Alibi, alibi(2), "causal", "blocks"),
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
    assert_agrees(report, sites, streams, causal_sites=[mask != "none"] * 2)
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
    both = measure(path, "--tokens", tokens, "--metric", "mixing_jacobian", "--metric", "first_token_mass", "--set", "mixing_jacobian.targets=3")
    jacobian = measure(path, "--tokens", tokens, "--metric", "mixing_jacobian", "--set", "mixing_jacobian.targets=3")
    assert jacobian["metrics"]["mixing_jacobian"] == both["metrics"]["mixing_jacobian"]
    assert measure(path, "--tokens", tokens, "--metric", "hidden_norm", "--verify")["verify"]["logits_bit_identical"] is True


def test_kv_heads_are_counted_before_repetition(tmp_path, tokens):
    report = measure(write(Toy(Repeated()), tmp_path / "m.pt"), "--tokens", tokens)
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


class Branching(nn.Module):
    """Scripted: the branch depends on the input's length."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if q.size(2) > 1000:
            return F.scaled_dot_product_attention(q, k, v)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@pytest.mark.parametrize("core", [Sdpa, Branching], ids=["without a branch", "with a branch"])
def test_scripted_models_are_measured_and_an_untaken_branch_is_listed_with_a_warning(tmp_path, ids, tokens, core):
    toy = Toy(core())
    report = measure(write(toy, tmp_path / "m.pt", script=True), "--tokens", tokens)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH))
    if core is Sdpa:
        assert_agrees(report, sites, streams)
        return
    assert sorted(s["calls"] for s in report["sites"]) == [0, BATCH]
    untaken = next(s["id"] for s in report["sites"] if s["calls"] == 0)
    assert warning(report, "site_not_reached")
    metric = report["metrics"]["first_token_mass"]
    assert metric["per_site"][untaken] is None and metric["rejected"] == 0
    np.testing.assert_allclose(metric["per_head"][1 - untaken], truth.alpha(sites[0], 0).mean(0), atol=1e-5)
    np.testing.assert_allclose(metric["value"], truth.alpha(sites[0], 0).mean(), atol=1e-5)


class Packed(Toy):
    """Returns logits and hidden state in a tuple or a dict."""

    def __init__(self, as_dict: bool):
        super().__init__(Sdpa())
        self.as_dict = as_dict

    def forward(self, ids):
        logits = super().forward(ids)
        return {"logits": logits, "z": logits.sum()} if self.as_dict else (logits, logits.sum())


@pytest.mark.parametrize("as_dict", [False, True], ids=["tuple", "dict"])
def test_the_first_tensor_of_a_tuple_or_dict_is_the_logits(tmp_path, ids, tokens, as_dict):
    toy = Packed(as_dict).eval()
    module = torch.jit.trace(toy, ids_of(*toys.TRACED), check_trace=False, strict=False)
    module.save(str(tmp_path / "m.pt"))
    report = measure(tmp_path / "m.pt", "--tokens", tokens, "--verify")
    sites, streams, logits = truth_of(toy, ids, causal(LENGTH))
    assert_agrees(report, sites, streams)
    assert report["metrics"]["loss"]["value"] == pytest.approx(truth.next_token_loss(logits, ids.numpy()).mean(), rel=1e-5)


def test_a_batch_baked_in_at_one_is_refused_or_measured_right_never_wrong(tmp_path, ids, tokens):
    class One(Toy):
        def forward(self, ids):
            x = self.embedding(ids).view(1, -1, toys.WIDTH)  # a trace of batch 1 often says this
            return self.head(self.blocks[0](x))

    toy = One(Sdpa())
    path = write(toy, tmp_path / "m.pt", example=ids_of(1, 11))
    sites, _, _ = truth_of(toy, ids, causal(LENGTH))
    right = measure(path, "--tokens", tokens, "--batch", 1)
    np.testing.assert_allclose(right["metrics"]["first_token_mass"]["per_head"][0], truth.alpha(sites[0], 0).mean(0), atol=1e-5)
    error = refused("measure", path, "--tokens", tokens, code=3)
    assert "1 sequences where 3 were given" in error


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float16, 5e-3)], ids=["float64", "float16"])
@pytest.mark.parametrize("core", [Sdpa, Eager])
def test_other_dtypes_run_as_they_are(tmp_path, ids, tokens, dtype, tolerance, core):
    toy = Toy(core()).to(dtype)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH))
    assert report["model"]["dtype"] == str(dtype).removeprefix("torch.")
    np.testing.assert_allclose(report["metrics"]["first_token_mass"]["per_head"][0], truth.alpha(sites[0], 0).mean(0), atol=tolerance)
    np.testing.assert_allclose(report["metrics"]["hidden_norm"]["series"]["first"]["data"],
                               [truth.first_and_others(s)[0] for s in streams], rtol=tolerance)


@pytest.mark.parametrize("core", [Sdpa, Eager, Windowed])
def test_one_token_has_all_its_attention_on_itself_and_no_ratio(tmp_path, core):
    path = write(Toy(core(), heads=1), tmp_path / "m.pt")
    report = measure(path, "--tokens", "-", stdin="[5]\n[7]\n")
    metrics = report["metrics"]
    assert metrics["first_token_mass"]["value"] == pytest.approx(1, abs=1e-6)
    assert metrics["first_token_mass"]["uniform"] == pytest.approx(1)
    for name in ("excluding_first_query", "after_first_k"):
        assert metrics["first_token_mass"]["series"][name]["data"] == [[None]], name
    assert metrics["attention_entropy"]["value"] == pytest.approx(0, abs=1e-6)
    assert metrics["sink_rate"]["series"]["by_key"]["data"] == [1.0, *[None] * 9]
    for name in ("hidden_norm", "key_norm", "value_norm", "loss"):
        assert metrics[name]["value"] is None, name
    assert "short_sequences" in codes(report)


@pytest.mark.parametrize("length", [2, 3, 5, 9])
def test_fewer_tokens_than_first_keys_leave_the_keys_beyond_undefined(tmp_path, length):
    toy, ids = Toy(Sdpa(), heads=1), ids_of(2, length)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", write_tokens(tmp_path / "t.jsonl", ids.tolist()))
    sites, _, _ = truth_of(toy, ids, causal(length))
    by_key = report["metrics"]["sink_rate"]["series"]["by_key"]["data"]
    assert by_key[length:] == [None] * (10 - length)
    np.testing.assert_allclose(by_key[:length], [(truth.alpha(sites[0], k) > 0.3).mean() for k in range(length)], atol=1e-9)
