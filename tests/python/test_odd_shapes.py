"""Models unlike the usual traced decoder: scripts, other outputs, batches that the model cuts or copies, other dtypes, very
short sequences.

Each is compared with the float64 account of the same weights in truth.py.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toys
import truth
from measuring import MEASURES, codes, measure, refused, warning, write_tokens
from safetensors.torch import save_file
from torch import Tensor
from toys import BATCH, LENGTH, Eager, Sdpa, Toy, Windowed, assert_agrees, causal, ids_of, truth_of, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


class Branching(torch.nn.Module):
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
    assert "where 3 sequences were given" in error


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float16, 5e-3)], ids=["float64", "float16"])
@pytest.mark.parametrize("core", [Sdpa, Eager])
def test_other_dtypes_run_as_they_are(tmp_path, ids, tokens, dtype, tolerance, core):
    toy = Toy(core()).to(dtype)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH))
    assert report["model"]["dtype"] == str(dtype).removeprefix("torch.")
    mass = report["metrics"]["first_token_mass"]["per_head"][0]
    np.testing.assert_allclose(mass, truth.alpha(sites[0], 0).mean(0), atol=tolerance)
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


def test_short_sequences_are_warned_of_by_what_the_queries_see(tmp_path):
    flags = ("--random-tokens", 2, "--length", 9, "--vocabulary", toys.VOCABULARY, "--metric", "sink_rate")
    causal_path, open_path = (write(Toy(Sdpa(causal=c)), tmp_path / f"{c}.pt") for c in (True, False))
    assert "short_sequences" in codes(measure(causal_path, *flags))
    assert "short_sequences" not in codes(measure(open_path, *flags))  # 1/9 each
    flags = ("--random-tokens", 2, "--length", 10, *flags[4:])
    assert "short_sequences" not in codes(measure(causal_path, *flags))


@pytest.mark.parametrize("length", [2, 3, 5, 9])
def test_fewer_tokens_than_first_keys_leave_the_keys_beyond_undefined(tmp_path, length):
    toy, ids = Toy(Sdpa(), heads=1), ids_of(2, length)
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", write_tokens(tmp_path / "t.jsonl", ids.tolist()))
    sites, _, _ = truth_of(toy, ids, causal(length))
    by_key = report["metrics"]["sink_rate"]["series"]["by_key"]["data"]
    assert by_key[length:] == [None] * (10 - length)
    np.testing.assert_allclose(by_key[:length], [(truth.alpha(sites[0], k) > 0.3).mean() for k in range(length)], atol=1e-9)


CUT = 4  # tokens of a window


def cut(x):
    return x.view(x.size(0), -1, CUT, x.size(2))


class Windows(Toy):
    """Attention inside windows that are stacked along the batch, those of a sequence behind each other."""

    def forward(self, ids):
        x = cut(self.embedding(ids))
        return self.head(self.blocks[0](x.flatten(0, 1)).view(ids.size(0), -1, toys.WIDTH))


class WindowsFirst(Toy):
    """The same, the first windows of all sequences in front."""

    def forward(self, ids):
        x = cut(self.embedding(ids)).transpose(0, 1)
        y = self.blocks[0](x.flatten(0, 1)).view(-1, ids.size(0), CUT, toys.WIDTH)
        return self.head(y.transpose(0, 1).flatten(1, 2))


@pytest.mark.parametrize("core", [Sdpa, Eager])
@pytest.mark.parametrize("model", [Windows, WindowsFirst])
def test_windows_along_the_batch_stay_with_their_sequence(tmp_path, ids, tokens, model, core):
    toy = model(core())
    path = write(toy, tmp_path / "m.pt", example=ids_of(BATCH, LENGTH))
    site = truth_of(toy, ids.view(-1, CUT), causal(CUT))[0][0]  # a window is a sequence of its own
    mass = site.attention[..., 0].reshape(BATCH, LENGTH // CUT, 2, CUT).mean((1, 3))
    for batch in (BATCH, 2, 1):
        metric = measure(path, "--tokens", tokens, "--batch", batch)["metrics"]["first_token_mass"]
        np.testing.assert_allclose(metric["per_sequence"], mass.mean(1), atol=1e-6)
        np.testing.assert_allclose(metric["per_head"][0], mass.mean(0), atol=1e-6)


class Twice(Toy):
    """Reads every sequence also backwards, in the same forward."""

    def forward(self, ids):
        x = self.embedding(ids)
        forward, backward = self.blocks[0](torch.cat([x, x.flip(1)], 0)).chunk(2, 0)
        return self.head(forward + backward)


@pytest.mark.parametrize("core", [Sdpa, Eager])
def test_copies_of_whole_sequences_in_one_batch_are_refused(tmp_path, tokens, core):
    path = write(Twice(core()), tmp_path / "m.pt")
    for batch in (1, 2, BATCH):
        assert "sequences of the whole length" in refused("measure", path, "--tokens", tokens, "--batch", batch, code=3)


class Picture(torch.nn.Module):
    """Numbers in [B, 16, 16], cut into four windows of four rows; windows and heads in dims of their own."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = torch.nn.Linear(16, 48, bias=False), torch.nn.Linear(16, 5)

    def forward(self, x):
        q, k, v = self.inner(x).unflatten(1, (4, 4)).unflatten(3, (3, 2, 8)).permute(3, 0, 1, 4, 2, 5).unbind(0)
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.out(mixed.transpose(2, 3).flatten(3).flatten(1, 2)).mean(1)


def test_windows_in_a_dim_of_their_own_are_not_taken_for_heads_where_the_length_is_not_known(tmp_path):
    path = write(Picture(), tmp_path / "m.pt", example=torch.randn(2, 16, 16), metadata={"input": "tensor"})
    save_file({"x": torch.randn(3, 16, 16)}, tmp_path / "x.safetensors")
    assert "cannot be told apart" in refused("measure", path, "--tensor", tmp_path / "x.safetensors", code=3)
