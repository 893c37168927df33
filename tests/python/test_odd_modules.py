"""Module structure unlike a traced decoder: control flow, interfaces, lifted submodules, head lists, odd outputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toys
import truth
from measuring import MEASURES, codes, measure, refused, warning
from torch import Tensor, nn
from toys import BATCH, LENGTH, Eager, Sdpa, Toy, assert_agrees, causal, ids_of, truth_of, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


class Either(nn.Module):
    """Fused or written out, as an attribute says."""

    def __init__(self, fused: bool):
        super().__init__()
        self.fused = fused

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.fused and q.size(0) > 0:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(int(q.size(-1)))
        hidden = torch.ones(q.size(2), k.size(2), dtype=torch.bool, device=q.device).triu(1)
        return torch.matmul(torch.softmax(scores.masked_fill(hidden, float("-inf")), -1), v)


def test_of_two_branches_the_one_that_runs_is_measured(tmp_path, ids, tokens):
    toy = Toy(Either(True), Either(False))
    report = measure(write(toy, tmp_path / "m.pt", script=True), "--tokens", tokens, "--verify")
    expected, _, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    taken = [n for n, s in enumerate(report["sites"]) if s["calls"] > 0]
    assert [report["sites"][n]["measured_by"] for n in taken] == ["fused", "materialised"]
    for number, site in zip(taken, expected, strict=True):
        np.testing.assert_allclose(report["metrics"]["first_token_mass"]["per_head"][number], truth.alpha(site, 0).mean(0), atol=1e-5)
    assert len(report["sites"]) > len(taken) and "site_not_reached" in codes(report)


class Looped(Toy):
    """One block, applied as often as a number says: one node of the graph that fires several times."""

    def __init__(self, core: nn.Module):
        super().__init__(core)
        self.block, self.times = self.blocks[0], 3
        del self.blocks

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for _ in range(self.times):
            x = self.block(x)
        return self.head(x)


def test_a_site_in_a_loop_is_the_mean_over_its_rounds(tmp_path, ids, tokens):
    toy = Looped(Sdpa())
    report = measure(write(toy, tmp_path / "m.pt", script=True), "--tokens", tokens)
    toy.blocks = nn.ModuleList([toy.block] * 3)
    sites, _, _ = truth_of(toy, ids, *[causal(LENGTH)] * 3)
    assert len(report["sites"]) == 1
    assert report["sites"][0]["calls"] == 3 * BATCH
    expected = np.mean([truth.alpha(site, 0).mean(0) for site in sites], axis=0)
    np.testing.assert_allclose(report["metrics"]["first_token_mass"]["per_head"][0], expected, atol=1e-5)


class InDictionary(Toy):
    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(ids), "ids": ids}


class InTuple(Toy):
    def forward(self, ids):
        return super().forward(ids), (ids, ids)


@pytest.mark.parametrize("kind", [InDictionary, InTuple])
def test_the_first_tensor_of_a_dictionary_or_tuple_is_the_output(tmp_path, ids, tokens, kind):
    toy = kind(Sdpa(), Eager())
    toy.eval()
    with torch.no_grad():
        module = torch.jit.trace(toy, ids_of(*toys.TRACED), check_trace=False, strict=False)
    module.save(str(tmp_path / "m.pt"))
    report = measure(tmp_path / "m.pt", "--tokens", tokens, "--verify")
    sites, streams, logits = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    assert_agrees(report, sites, streams)
    expected = truth.next_token_loss(logits, ids.numpy()).mean()
    assert report["metrics"]["loss"]["value"] == pytest.approx(expected, rel=1e-5)


class TupleBlock(toys.Block):
    """A block that returns its state in a tuple with something else, as older libraries do."""

    def forward(self, x):
        y = super().forward(x)
        return y, y.mean()


class TupleBlocks(Toy):
    def __init__(self, *cores):
        super().__init__(*cores)
        self.blocks = nn.ModuleList(TupleBlock(core, 2) for core in cores)

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x, _ = block(x)
        return self.head(x)


def test_blocks_that_return_tuples_have_streams(tmp_path, ids, tokens):
    toy = TupleBlocks(Sdpa(), Sdpa())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    assert_agrees(report, sites, streams)


class Masked(nn.Module):
    """Reads a mask that nobody passes to it: tracing lifts it to an argument."""

    shared: dict = {}

    def forward(self, q, k, v):
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.size(-1))
        return torch.matmul(torch.softmax(scores + self.shared["mask"], -1), v)


class Lifted(Toy):
    def forward(self, ids):
        hidden = torch.ones(ids.size(1), ids.size(1), dtype=torch.bool).triu(1)
        Masked.shared["mask"] = torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))
        return super().forward(ids)


def test_submodules_that_tracing_gives_more_arguments_are_measured(tmp_path, ids, tokens):
    toy = Lifted(Masked(), Masked())
    path = write(toy, tmp_path / "m.pt")
    core = getattr(torch.jit.load(str(path)).blocks, "0").attention.core
    assert len(list(core.graph.inputs())) > 4  # the module, q, k, v
    report = measure(path, "--tokens", tokens, "--verify")
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    assert_agrees(report, sites, streams)
    Masked.shared.clear()


@torch.jit.interface
class Core(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        pass


class ByInterface(nn.Module):
    """Calls its core through an interface type."""

    core: Core

    def __init__(self, core: nn.Module):
        super().__init__()
        self.core = core

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.core.forward(q, k, v)


def test_a_call_through_an_interface_is_resolved_by_the_module_that_is_there(tmp_path, ids, tokens):
    toy = Toy(ByInterface(Sdpa()), ByInterface(Eager()))
    path = write(toy, tmp_path / "m.pt", script=True)
    caller = getattr(torch.jit.load(str(path)).blocks, "0").attention.core
    assert next(n for n in caller.graph.nodes() if n.kind() == "prim::CallMethod").inputsAt(0).type().kind() == "InterfaceType"
    report = measure(path, "--tokens", tokens, "--verify")
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    assert_agrees(report, sites, streams)
    assert [s["measured_by"] for s in report["sites"]] == ["fused", "materialised"]


class Chosen(nn.Module):
    """Which module is called is known only while it runs."""

    def __init__(self):
        super().__init__()
        self.cores = nn.ModuleList([Sdpa(), Eager()])

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        core: Core = self.cores[int(q.size(0)) % 2]
        return core.forward(q, k, v)


def test_a_call_that_only_the_run_decides_is_refused(tmp_path, tokens):
    path = write(Toy(Chosen()), tmp_path / "m.pt", script=True)
    error = refused("measure", path, "--tokens", tokens, code=3)
    assert "interface" in error and "Trace" in error


class Head(nn.Module):
    """One head with projections of its own, as in many a lecture."""

    def __init__(self, size: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(toys.WIDTH, size, bias=False) for _ in range(3))

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        scores = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        hidden = torch.tril(torch.ones(x.shape[1], x.shape[1])) == 0
        return F.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v


class HeadList(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(Head(toys.WIDTH // 2) for _ in range(2))

    def forward(self, x):
        return x + torch.cat([head(x) for head in self.heads], dim=-1)


class HeadLists(Toy):
    def __init__(self):
        super().__init__(Sdpa())
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(HeadList() for _ in range(2))


def test_a_list_of_heads_is_no_list_of_blocks(tmp_path, ids, tokens):
    toy = HeadLists()
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    x = toy.embedding.weight.detach().double().numpy()[ids.numpy()]
    sites, streams = [], [x]
    for block in toy.blocks:
        mixed = []
        for head in block.heads:
            q, k, v = ((x @ m.weight.detach().double().numpy().T)[:, None] for m in (head.query, head.key, head.value))
            scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + causal(LENGTH)
            a = np.exp(scores - scores.max(-1, keepdims=True))
            sites.append(truth.Site(a / a.sum(-1, keepdims=True), k, v))
            mixed.append((sites[-1].attention @ v)[:, 0])
        x = x + np.concatenate(mixed, -1)
        streams.append(x)
    assert_agrees(report, sites, streams)
    assert [(s["path"], s["layer"]) for s in report["sites"]] == [
        (f"blocks.{b}.heads.{h}", b) for b in range(2) for h in range(2)]
    assert [s["path"] for s in report["streams"]] == ["blocks.0", "blocks.0", "blocks.1"]


class PlainAttributes(Toy):
    """Blocks that stand in no list."""

    def __init__(self, *cores):
        super().__init__(*cores)
        self.first, self.second = self.blocks
        del self.blocks

    def forward(self, ids):
        return self.head(self.second(self.first(self.embedding(ids))))


def test_blocks_in_no_list_are_one_stack_and_the_report_says_where_their_streams_are(tmp_path, ids, tokens):
    toy = PlainAttributes(Sdpa(), Sdpa())
    report = measure(write(toy, tmp_path / "m.pt"), "--tokens", tokens)
    toy.blocks = nn.ModuleList([toy.first, toy.second])
    sites, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    assert_agrees(report, sites, streams)
    assert [s["layer"] for s in report["sites"]] == [0, 1]
    assert "stream_sum" in codes(report)
    assert "stream_sum" not in codes(measure(write(Toy(Sdpa(), Sdpa()), tmp_path / "m.pt"), "--tokens", tokens))


class InChunks(nn.Module):
    """Causal attention whose queries come ten at a time."""

    def forward(self, q, k, v):
        parts = []
        for begin in (0, 10):
            end = begin + 10
            seen = torch.ones(10, end, dtype=torch.bool).tril(begin)
            parts.append(F.scaled_dot_product_attention(q[:, :, begin:end], k[:, :, :end], v[:, :, :end], attn_mask=seen))
        return torch.cat(parts, 2)


def test_queries_in_chunks_are_not_said_to_have_keys_that_are_no_tokens(tmp_path, tokens):
    report = measure(write(Toy(InChunks()), tmp_path / "m.pt", example=ids_of(2, LENGTH)), "--tokens", tokens)
    assert "extra_keys" not in codes(report) and "site_positions" in codes(report)


class RowByRow(nn.Module):
    """A loop over the queries, each with the keys before it."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows: list[Tensor] = []
        for t in range(q.size(2)):
            scores = torch.matmul(q[:, :, t : t + 1], k[:, :, : t + 1].transpose(-1, -2)) / math.sqrt(q.size(-1))
            rows.append(torch.matmul(torch.softmax(scores, -1), v[:, :, : t + 1]))
        return torch.cat(rows, 2)


def test_a_loop_over_queries_is_not_said_to_be_no_causal_model(tmp_path, ids, tokens):
    toy = Toy(RowByRow(), RowByRow())
    report = measure(write(toy, tmp_path / "m.pt", script=True), "--tokens", tokens)
    assert {"site_in_loop", "site_positions"} <= codes(report)
    assert report["metrics"]["loss"]["value"] is None
    assert "not known whether the model is causal" in warning(report, "no_loss")
    _, streams, _ = truth_of(toy, ids, causal(LENGTH), causal(LENGTH))
    norms = [truth.first_and_others(s)[0] for s in streams]
    np.testing.assert_allclose(report["metrics"]["hidden_norm"]["series"]["first"]["data"], norms, rtol=1e-5)
    assert [s["layer"] for s in report["sites"]] == [0, 1]
