"""Model files and weights that cannot be measured: one clear message, the documented exit code, nothing lost."""

import pickle
import zipfile

import pytest
import torch
import torch.nn.functional as F
import toys
from measuring import MEASURES, measure, refused, sinkscope, write_tokens
from safetensors.torch import load_file, save_file
from support import DEMO
from torch import nn
from toys import Sdpa, Toy, ids_of, write

ONE = DEMO / "backcopy_1layer.pt"
WEIGHTS = DEMO / "backcopy_1layer" / "step1600.safetensors"

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


@pytest.fixture(scope="session")
def tokens(tmp_path_factory):
    return write_tokens(tmp_path_factory.mktemp("tokens") / "t.jsonl", ids_of(3, 13).tolist())


@pytest.fixture
def kept(tmp_path):
    """An output file of an earlier run, which no failure may touch."""
    path = tmp_path / "report.json"
    path.write_text("earlier")
    yield path
    assert path.read_text() == "earlier"
    assert not [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"]


def write_bad_file(path, kind):
    state = {"weight": torch.ones(3, 2)}
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(ONE.read_bytes()[:200000])
    elif kind == "truncated at the end":
        path.write_bytes(ONE.read_bytes()[:-100])
    elif kind == "pickled state dict":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif kind == "torch.save":
        torch.save(state, path)
    elif kind == "safetensors":
        save_file(state, path)
    elif kind == "text":
        path.write_text("a model, honestly\n")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "no model")
    elif kind == "torch.export":
        torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), path)
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize(
    ("kind", "message"),
    [("missing", "does not exist"), ("empty", "is empty"), ("truncated", "truncated"), ("truncated at the end", "truncated"),
     ("pickled state dict", "state dict"), ("pickle", "pickle"), ("torch.save", "torch.save"), ("safetensors", "--weights"),
     ("text", "not a TorchScript"), ("zip", "archive"), ("torch.export", "torch.export"), ("folder", "directory")],
)
def test_a_file_that_is_no_torchscript_model_is_named_for_what_it_is(tmp_path, kept, kind, message):
    path = tmp_path / "model.pt2"
    write_bad_file(path, kind)
    for command in (("measure", path, "-o", kept), ("inspect", path)):
        error = refused(*command, code=3)
        assert message in error and str(path) in error and "enforce fail" not in error


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(toys.VOCABULARY, 8), nn.Linear(8, toys.VOCABULARY)

    def forward(self, ids):
        return self.head(torch.relu(self.embedding(ids)))


class TwoArguments(Toy):
    def forward(self, ids, attention_mask):
        return super().forward(ids) * attention_mask[..., None]


class Routed(Toy):
    """A mixture of experts: its softmax goes to top-k and is no attention."""

    def __init__(self):
        super().__init__(Sdpa())
        self.router = nn.Linear(toys.WIDTH, 4)

    def forward(self, ids):
        x = self.blocks[0](self.embedding(ids))
        weights, _ = torch.softmax(self.router(x), -1).topk(2)
        return self.head(x * weights.sum(-1, keepdim=True))


class Difference(nn.Module):
    """Differential attention without a mark: neither softmax is what meets the values."""

    def forward(self, q, k, v):
        first, second = (torch.softmax(q[..., s] @ k[..., s].transpose(-1, -2), -1) for s in (slice(0, 4), slice(4, 8)))
        return (first - 0.5 * second) @ v


class TalkingHeads(nn.Module):
    """Scores of all heads are mixed before the softmax."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(2, 2, bias=False)

    def forward(self, q, k, v):
        scores = self.mix((q @ k.transpose(-1, -2)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return torch.softmax(scores, -1) @ v


class NormalisedSigmoid(nn.Module):
    def forward(self, q, k, v):
        weights = torch.sigmoid(q @ k.transpose(-1, -2))
        return (weights / weights.sum(-1, keepdim=True)) @ v


class TwoBlocks(nn.Module):
    """One softmax over the scores of two memories."""

    def forward(self, q, k, v):
        scores = torch.cat([q @ k.transpose(-1, -2), q @ v.transpose(-1, -2)], -1)
        near, far = torch.softmax(scores, -1).chunk(2, -1)
        return near @ v + far @ k


def test_a_model_without_attention_is_refused(tmp_path, kept, tokens):
    error = refused("measure", write(Mlp(), tmp_path / "m.pt"), "--tokens", tokens, "-o", kept, code=3)
    assert "found no attention" in error


def test_a_model_that_needs_more_arguments_is_refused_by_their_names(tmp_path, kept, tokens):
    example = (ids_of(2, 11), torch.ones(2, 11))
    path = write(TwoArguments(Sdpa()), tmp_path / "m.pt", example=example)
    error = refused("measure", path, "--tokens", tokens, "-o", kept, code=3)
    assert "attention_mask" in error


def test_a_router_is_no_site_and_no_warning(tmp_path, tokens):
    report = measure(write(Routed(), tmp_path / "m.pt"), "--tokens", tokens)
    assert len(report["sites"]) == 1
    assert [(u["op"], "topk" in u["reason"]) for u in report["unmatched"]] == [("aten::softmax", True)]
    assert "unmatched_softmax" not in {w["code"] for w in report["warnings"]}


def test_attention_that_is_not_recognised_is_listed_and_warned_of(tmp_path, tokens):
    path = write(Toy(Sdpa(), Difference()), tmp_path / "m.pt")
    report = measure(path, "--tokens", tokens)
    assert [u["path"] for u in report["unmatched"]] == ["blocks.1.attention.core"] * 2
    assert {w["code"] for w in report["warnings"]} >= {"unmatched_softmax"}
    assert "aten::sub" in report["unmatched"][0]["reason"] and "aten::sub" in sinkscope("inspect", path).stdout


@pytest.mark.parametrize(("core", "met"), [(TalkingHeads, "aten::linear"), (NormalisedSigmoid, "aten::"), (TwoBlocks, "aten::cat")])
def test_attention_beyond_an_operator_that_is_not_followed_is_warned_of(tmp_path, tokens, core, met):
    report = measure(write(Toy(Sdpa(), core()), tmp_path / "m.pt"), "--tokens", tokens)
    assert len(report["sites"]) == 1
    assert [(u["path"], met in u["reason"]) for u in report["unmatched"]] == [("blocks.1.attention.core", True)]
    assert sum(w["code"] == "unmatched_softmax" for w in report["warnings"]) == 1


class Dropout(nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(F.dropout(q, 0.5, training=True), k, v, is_causal=True)


class BakedLength(Toy):
    def forward(self, ids):
        x = self.embedding(ids)
        return self.head(self.blocks[0](x + torch.ones(1, 13, 1)))


class OtherAtHalf(Toy):
    """No length is baked in, but a position sees how many follow it."""

    def forward(self, ids):
        return self.head(self.blocks[0](self.embedding(ids)) * ids.size(1))


@pytest.mark.parametrize(
    ("toy", "words"),
    [(lambda: Toy(Dropout()), ("dropout", "eval")), (lambda: BakedLength(Sdpa()), ("baked into the trace",)),
     (lambda: OtherAtHalf(Sdpa()), ("other logits",))],
    ids=["active dropout", "a length baked in", "a position that depends on the length"],
)
def test_verify_refuses_a_trace_that_does_not_say_what_the_model_says(tmp_path, kept, tokens, toy, words):
    path = write(toy(), tmp_path / "m.pt", example=ids_of(2, 13))
    error = refused("measure", path, "--tokens", tokens, "--verify", "-o", kept, code=3)
    assert all(word in error for word in words)


def nan_model(path, name):
    toy = Toy(Sdpa(), Sdpa())
    with torch.no_grad():
        dict(toy.named_parameters())[name].fill_(float("nan"))
    return write(toy, path)


def test_nan_weights_give_nulls_a_written_report_and_exit_5(tmp_path, tokens):
    path = nan_model(tmp_path / "m.pt", "blocks.1.attention.key.weight")
    report_path = tmp_path / "r.json"
    done = sinkscope("measure", path, "--tokens", tokens, "-o", report_path, code=5)
    assert "NaN" in done.stderr and report_path.exists()
    report = measure(path, "--tokens", tokens, code=5)
    metric = report["metrics"]["first_token_mass"]
    assert metric["per_site"][0] is not None and metric["per_site"][1] is None
    assert metric["per_head"][1] == [None, None]
    assert metric["rejected"] == 6 and metric["count"] == 6
    assert metric["value"] == pytest.approx(metric["per_site"][0])
    assert metric["series"]["last_query"]["data"][1] == [None, None]
    assert report["metrics"]["key_norm"]["series"]["first"]["data"][1] == [None, None]


def test_a_model_of_nothing_but_nan_has_no_value_at_all(tmp_path, tokens):
    report = measure(nan_model(tmp_path / "m.pt", "embedding.weight"), "--tokens", tokens, code=5)
    for name in ("first_token_mass", "sink_rate", "attention_entropy", "key_norm", "hidden_norm", "loss", "dormant_head"):
        assert report["metrics"][name]["value"] is None, name
        assert report["metrics"][name]["ci95"] is None, name
    assert "null" not in sinkscope("measure", tmp_path / "m.pt", "--tokens", tokens, code=5).stdout


def damaged_weights(path, how):
    tensors = {name: t.clone() for name, t in load_file(WEIGHTS).items()}
    name = "blocks.0.attention.key.weight"
    if how == "missing":
        del tensors[name]
    elif how == "unexpected":
        tensors["blocks.7.key.weight"] = torch.ones(2)
    elif how == "misshapen":
        tensors[name] = tensors[name][:5].contiguous()
    elif how == "integer":
        tensors[name] = tensors[name].to(torch.int32)
    elif how == "fp8":
        tensors[name] = tensors[name].to(torch.float8_e4m3fn)
    save_file(tensors, path)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif how == "no header":
        path.write_bytes(b"\xff" * 64)


@pytest.mark.parametrize(
    ("how", "words"),
    [("missing", ("missing", "blocks.0.attention.key.weight")), ("unexpected", ("unexpected", "blocks.7.key.weight")),
     ("misshapen", ("5, 128", "128, 128")), ("integer", ("I32",)), ("fp8", ("F8_E4M3",)), ("truncated", ("w.safetensors",)),
     ("no header", ("w.safetensors",))],
)
def test_weights_that_do_not_fit_are_listed_by_name(tmp_path, kept, how, words):
    path = tmp_path / "w.safetensors"
    damaged_weights(path, how)
    error = refused("measure", ONE, "--weights", path, "-o", kept, code=3)
    assert all(word in error for word in words), error


def test_missing_and_unexpected_tensors_can_be_allowed(tmp_path):
    path = tmp_path / "w.safetensors"
    flags = ("--limit", 2, "--metric", "loss")
    for how, flag in (("missing", "--allow-missing"), ("unexpected", "--allow-unexpected")):
        damaged_weights(path, how)
        report = measure(ONE, "--weights", path, flag, "blocks.*key*", *flags)
        assert report["metrics"] == measure(ONE, *flags)["metrics"]


def test_another_float_dtype_is_cast_and_recorded_and_a_common_prefix_is_understood(tmp_path):
    tensors = {f"model.{name}": t.to(torch.bfloat16) for name, t in load_file(WEIGHTS).items()}
    save_file(tensors, tmp_path / "w.safetensors")
    report = measure(ONE, "--weights", tmp_path / "w.safetensors", "--limit", 8, "--metric", "first_token_mass")
    weights = report["model"]["weights"]
    assert (weights["dtype"], weights["casts"], report["model"]["dtype"]) == ("bfloat16", len(tensors), "float32")
    assert report["metrics"]["first_token_mass"]["value"] == pytest.approx(0.7, abs=0.1)
