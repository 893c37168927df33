"""Variants of attention, each a small module in gallery/: the report against each variant's own account in float64.

docs/gallery.md has a row for each; what it says of how a variant is measured is checked here.
"""

import copy
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from gallery.account import Account
from measuring import MEASURES, codes, measure, write_tokens
from support import REPOSITORY
from toys import BATCH, Toy, ids_of, write

VARIANTS = sorted(path.stem for path in (Path(__file__).parent / "gallery").glob("*.py") if path.stem != "account")
TOLERANCE = 1e-5
LENGTH = 24  # it and its half, which --verify runs, are whole blocks of four

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def documented() -> dict[str, str]:
    """Variant -> how it is measured, from the table of docs/gallery.md."""
    rows = re.findall(r"^\| \[(\w+)\]\(.*?\) \|.*\| ([^|]+) \|$", (REPOSITORY / "docs" / "gallery.md").read_text(), re.M)
    return dict(rows)


class Case:
    """A variant in a toy, measured; `accounts` in site order."""

    def __init__(self, folder, name):
        self.variant = importlib.import_module(f"gallery.{name}")
        torch.manual_seed(0)
        cores = self.variant.cores() if hasattr(self.variant, "cores") else [self.variant.Core()]
        heads = getattr(self.variant, "HEADS", 2)
        kept = [copy.deepcopy(core.state_dict()) for core in cores]
        toy = Toy(*cores, heads=heads, width=8 * heads)
        for core, state in zip(cores, kept, strict=True):
            core.load_state_dict(state)
        example = ids_of(toys.TRACED[0], getattr(self.variant, "TRACED_LENGTH", toys.TRACED[1]))
        ids = ids_of(BATCH, LENGTH)
        path = write(toy, folder / "m.pt", example=example)
        self.report = measure(path, "--tokens", write_tokens(folder / "t.jsonl", ids.tolist()), "--verify")
        self.accounts = []
        exact = copy.deepcopy(toy).double()
        for block in exact.blocks:
            block.attention.core.register_forward_pre_hook(self.keep)
        with torch.no_grad():
            exact(ids)

    def keep(self, core, inputs):
        self.accounts += self.variant.accounts(core, *(x.numpy() for x in inputs))


@pytest.fixture(scope="session", params=VARIANTS)
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp("gallery"), request.param)


def per_site(value, count):
    return value if isinstance(value, tuple) else (value,) * count


def close(found, expected, **tolerance):
    np.testing.assert_allclose(np.array(found, float), expected, **tolerance)


def test_every_variant_has_its_row(case):
    name = case.variant.__name__.removeprefix("gallery.")
    measured_by = {s["measured_by"] for s in case.report["sites"]}
    assert set(documented()[name].split(", ")) == measured_by


def test_all_rows_have_a_variant():
    assert sorted(documented()) == VARIANTS


def test_sites_are_what_the_variant_says(case):
    sites, count = case.report["sites"], len(case.accounts)
    assert len(sites) == count
    assert [s["mask"] for s in sites] == list(per_site(getattr(case.variant, "MASK", "causal"), count))
    assert [s["kind"] for s in sites] == list(per_site(getattr(case.variant, "KIND", "self"), count))
    for site, account in zip(sites, case.accounts, strict=True):
        assert site["query_heads"] == account.attention.shape[1]
        assert site["row_sum"] == ("free" if account.free else "with_sink" if account.sink is not None else "one")
        assert site["kv_heads"] == (None if account.key is None else account.key.shape[1])
    assert case.report["verify"]["logits_bit_identical"] is True
    assert max(case.report["verify"]["max_error"].values()) < TOLERANCE


def importance_of(account: Account) -> np.ndarray:
    """What thresholds look at: the weights, or where rows have any sum what Gu et al. put in their place."""
    weights = abs(account.attention)
    return weights / (weights.sum(-1, keepdims=True) + 1e-8) if account.free else account.attention


def test_attention_statistics_agree_with_float64(case):
    metrics = case.report["metrics"]
    for number, account in enumerate(case.accounts):
        a, importance = account.attention, importance_of(account)
        rows = a.shape[2]
        close(metrics["first_token_mass"]["per_head"][number], a[..., 0].mean((0, 2)), atol=TOLERANCE)
        last = metrics["first_token_mass"]["series"]["last_query"]["data"][number]
        close(last, a[:, :, -1, 0].mean(0), atol=TOLERANCE)
        tail = metrics["first_token_mass"]["series"]["tail"]["data"][number]
        close(tail, a[..., 0].mean((0, 2)), atol=TOLERANCE)  # 24 queries are fewer than the tail's
        close(metrics["sink_rate"]["per_head"][number], (importance[..., 0].sum(-1) / rows > 0.3).mean(0), atol=1e-9)
        columns = a.mean((0, 2))
        close(metrics["dominant_key"]["series"]["mass"]["data"][number], columns.max(-1), atol=TOLERANCE)
        assert metrics["dominant_key"]["series"]["position"]["data"][number] == columns.argmax(-1).tolist()
        if (a >= 0).all():  # weights below 0 have no entropy
            entropy = -(a * np.log(np.where(a > 0, a, 1))).sum(-1)
            close(metrics["attention_entropy"]["per_head"][number], entropy.mean((0, 2)), atol=TOLERANCE)
        renormalised = importance[..., 0] if account.free else a[..., 0] / (1 - account.sink) if account.sink is not None else None
        if renormalised is not None:
            found = metrics["first_token_mass"]["series"]["renormalised"]["data"][number]
            close(found, renormalised.mean((0, 2)), atol=TOLERANCE)
        if account.sink is not None:
            close(metrics["learned_sink_mass"]["per_head"][number], account.sink.mean((0, 2)), atol=TOLERANCE)


def masked(case):
    """(site number, account, visible [N, H, Q, K]) of the softmax attention of tokens to tokens."""
    for number, (site, account) in enumerate(zip(case.report["sites"], case.accounts, strict=True)):
        windows = account.key is not None and account.key.ndim == 5
        if site["row_sum"] != "free" and site["kind"] == "self" and site["measured_by"] != "marked" and not windows:
            yield number, account, account.attention > 0


def test_uniform_attention_over_what_each_head_may_see_is_beside_its_values(case):
    metrics = case.report["metrics"]
    for number, _, visible in masked(case):
        uniform = visible / visible.sum(-1, keepdims=True)
        found = metrics["first_token_mass"]["series"]["tail"]["uniform"][number]  # 24 queries are fewer than the tail's
        close(found, uniform[..., 0].mean((0, 2)), atol=1e-9)
        rows_with_choice = (visible.sum(-1) > 1).mean((0, 2))
        close(metrics["attention_entropy"]["series"]["normalised"]["uniform"][number], rows_with_choice, atol=1e-9)


def test_the_first_keys_are_divided_by_the_queries_that_causality_lets_see_them(case):
    measured = list(masked(case))
    if len(measured) != 1 or len(case.accounts) != 1:
        pytest.skip("the series is over all sites")
    (_, account, visible), extra = measured[0], getattr(case.variant, "EXTRA_KEYS", 0)
    later = np.triu(np.ones(visible.shape[2:], bool), 1 + extra)
    causal = not visible[..., later].any()
    rows = visible.shape[2]
    alpha = [account.attention[..., k].sum(-1) / (rows - max(0, k - extra) if causal else rows) for k in range(10)]
    close(case.report["metrics"]["sink_rate"]["series"]["by_key"]["data"], [(a > 0.3).mean() for a in alpha], atol=1e-9)
    assert (case.report["metrics"]["loss"]["value"] is not None) == causal
    assert ("extra_keys" in codes(case.report)) == (extra > 0)


def test_norms_agree_with_float64_and_are_null_where_nothing_is_known(case):
    metrics = case.report["metrics"]
    for number, account in enumerate(case.accounts):
        if account.key is None:
            assert set(metrics["head_output_norm"]["per_head"][number]) == {None}
            assert not any(v is not None for v in metrics["key_norm"]["series"]["first"]["data"][number])
            continue
        output = np.linalg.norm(account.output, axis=-1)
        close(metrics["head_output_norm"]["per_head"][number], output.mean((0, 2)), rtol=TOLERANCE)
        for which in ("key", "value"):
            norms = np.linalg.norm(getattr(account, which), axis=-1)  # [N, G, K] or [N, G, windows, K]
            first, others = norms[..., 0], norms[..., 1:].mean(-1)
            for name, expected in (("first", first), ("others", others)):
                over = (0,) if expected.ndim == 2 else (0, 2)
                found = metrics[f"{which}_norm"]["series"][name]["data"][number]
                close(found, expected.mean(over), rtol=TOLERANCE)
