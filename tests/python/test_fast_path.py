"""nn.MultiheadAttention and nn.TransformerEncoderLayer, whose fast path is one operator: measured beside it."""

import numpy as np
import pytest
import torch
import toys
import truth
from graph_only import write_pair
from measuring import MEASURES, measure, refused, sinkscope, write_tokens
from torch import nn
from toys import BATCH, LENGTH, ids_of, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")

WIDTH, HEADS = 16, 2


class Encoder(nn.Module):
    """Token ids -> layers -> logits. `mask`: none, causal (bool) or padding of ids 0."""

    def __init__(self, *, norm_first=False, mask="none", layers=2):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.mask = nn.Embedding(toys.VOCABULARY, WIDTH), mask
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True, norm_first=norm_first) for _ in range(layers)
        )
        self.head = nn.Linear(WIDTH, toys.VOCABULARY)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.4)

    def forward(self, ids):
        x = self.embedding(ids)
        mask = padding = None
        if self.mask == "causal":
            mask = torch.ones(ids.size(1), ids.size(1), dtype=torch.bool).triu(1)
        if self.mask == "padding":
            padding = ids == 0
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=padding)
        return self.head(x)


class Attention(nn.Module):
    """Self-attention alone; sequence first is the default of the library."""

    def __init__(self, *, batch_first=True):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.batch_first = nn.Embedding(toys.VOCABULARY, WIDTH), batch_first
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.4)

    def forward(self, ids):
        x = self.embedding(ids)
        x = x if self.batch_first else x.transpose(0, 1)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x if self.batch_first else x.transpose(0, 1)


def norm(x, layer):
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps) * weight + bias


def site_of(x, attention, bias):
    """The attention of nn.MultiheadAttention on x [N, T, E] in float64, and its output."""
    weight, offset = (p.detach().double().numpy() for p in (attention.in_proj_weight, attention.in_proj_bias))
    q, k, v = ((x @ w.T + b).reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)
               for w, b in zip(np.split(weight, 3), np.split(offset, 3), strict=True))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]) + bias
    a = np.exp(scores - scores.max(-1, keepdims=True))
    site = truth.Site(a / a.sum(-1, keepdims=True), k, v)
    out = (site.attention @ v).transpose(0, 2, 1, 3).reshape(x.shape)
    return site, out @ attention.out_proj.weight.detach().double().numpy().T + attention.out_proj.bias.detach().double().numpy()


def account_of(model, ids, bias):
    sites, streams = [], [model.embedding.weight.detach().double().numpy()[ids.numpy()]]
    for layer in model.layers:
        def feed(y, layer=layer):
            for linear, last in ((layer.linear1, False), (layer.linear2, True)):
                y = y @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
                y = y if last else np.maximum(y, 0)
            return y

        x = streams[-1]
        site, out = site_of(norm(x, layer.norm1) if layer.norm_first else x, layer.self_attn, bias)
        if layer.norm_first:
            x = x + out
            x = x + feed(norm(x, layer.norm2))
        else:
            x = norm(x + out, layer.norm1)
            x = norm(x + feed(x), layer.norm2)
        sites.append(site)
        streams.append(x)
    return sites, streams


@pytest.fixture(scope="module")
def ids():
    return ids_of(BATCH, LENGTH) % (toys.VOCABULARY - 1) + 1  # no id 0


def graph_text(path):
    return str(torch.jit.load(str(path)).inlined_graph)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("mask", ["none", "causal"])
def test_encoder_layers_on_the_fast_path_agree_with_float64(tmp_path, ids, tokens, norm_first, mask):
    model = Encoder(norm_first=norm_first, mask=mask)
    path = write(model, tmp_path / "m.pt")
    assert "_transformer_encoder_layer_fwd" in graph_text(path)
    report = measure(path, "--tokens", tokens, "--verify")
    sites, streams = account_of(model, ids, toys.causal(LENGTH) if mask == "causal" else 0)
    toys.assert_agrees(report, sites, streams)
    assert [(s["path"], s["layer"], s["mask"]) for s in report["sites"]] == [
        ("layers.0", 0, mask), ("layers.1", 1, mask)]
    assert {(s["pattern"], s["measured_by"]) for s in report["sites"]} == {("encoder_layer", "fused")}
    assert report["verify"]["logits_bit_identical"] is True


def test_streamed_parameters_are_those_of_the_graph_that_runs(tmp_path, tokens):
    """The tap beside the operator uses its projections too, so the tapped graph fetches more than the plain one."""
    stored, graph, weights = write_pair(Encoder().eval(), tmp_path / "pair")
    expected = measure(stored, "--tokens", tokens, "--verify")
    streamed = measure(graph, "--weights", weights, "--stream-weights", "--tokens", tokens, "--verify")
    assert streamed["metrics"] == expected["metrics"]
    assert streamed["verify"]["logits_bit_identical"] is True
    command = ("bench", graph, "--weights", weights, "--stream-weights", "--tokens", tokens, "--runs", 1, "--json")
    assert sinkscope(*command).returncode == 0


def test_padding_that_the_fast_path_is_told_of_hides_keys(tmp_path, ids):
    ids = ids.clone()
    ids[1, -6:] = 0
    model = Encoder(mask="padding")
    path = write(model, tmp_path / "m.pt", example=ids_of(*toys.TRACED))
    assert "_transformer_encoder_layer_fwd" in graph_text(path)
    report = measure(path, "--tokens", write_tokens(tmp_path / "t.jsonl", ids.tolist()))
    bias = np.where((ids == 0).numpy(), -np.inf, 0.0)[:, None, None, :]
    sites, streams = account_of(model, ids, bias)
    toys.assert_agrees(report, sites, streams)


@pytest.mark.parametrize("batch_first", [True, False])
def test_self_attention_on_the_fast_path_agrees_with_float64(tmp_path, ids, tokens, batch_first):
    model = Attention(batch_first=batch_first)
    path = write(model, tmp_path / "m.pt")
    report = measure(path, "--tokens", tokens, "--verify")
    site, _ = site_of(model.embedding.weight.detach().double().numpy()[ids.numpy()], model.attention, 0)
    toys.assert_agrees(report, [site])
    assert report["verify"]["logits_bit_identical"] is True


class Stack(Encoder):
    """The layers alone, which can be scripted."""

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


@pytest.mark.parametrize("model", [Stack, Attention])
def test_scripted_modules_of_the_library_hold_every_path_and_measure_the_one_that_runs(tmp_path, ids, tokens, model):
    model = model()
    report = measure(write(model, tmp_path / "m.pt", script=True), "--tokens", tokens)
    taken = [s for s in report["sites"] if s["calls"] > 0]
    values = [v for s, v in zip(report["sites"], report["metrics"]["first_token_mass"]["per_head"], strict=True) if s["calls"] > 0]
    if isinstance(model, Stack):
        sites, _ = account_of(model, ids, 0)
    else:
        sites = [site_of(model.embedding.weight.detach().double().numpy()[ids.numpy()], model.attention, 0)[0]]
    assert len(taken) == len(sites) < len(report["sites"])
    for site, value in zip(sites, values, strict=True):
        np.testing.assert_allclose(value, truth.alpha(site, 0).mean(0), atol=1e-5)


class Packed(Encoder):
    """nn.TransformerEncoder packs padded sequences into nested tensors unless told not to."""

    def __init__(self):
        super().__init__(layers=1)
        self.encoder = nn.TransformerEncoder(self.layers[0], 1)

    def forward(self, ids):
        return self.head(self.encoder(self.embedding(ids), src_key_padding_mask=ids == 0))


def test_nested_tensors_are_refused_with_the_remedy(tmp_path, ids):
    ids = ids.clone()
    ids[1, -6:] = 0
    path = write(Packed(), tmp_path / "m.pt", example=ids)
    error = refused("measure", path, "--tokens", write_tokens(tmp_path / "t.jsonl", ids.tolist()), code=3)
    assert "enable_nested_tensor=False" in error
