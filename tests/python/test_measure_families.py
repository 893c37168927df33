"""Exported Hugging Face families: every statistic of a report against float64 numpy on transformers' eager attention.

By default every family once (fused where it can be, graph-only); SINKSCOPE_FAMILIES=full takes all four forms, and
`scripts/test.sh --families` writes what came out into docs/families.md.
"""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import families_table
import numpy as np
import pytest
import torch
import truth
from measuring import MEASURES, codes, measure, write_tokens
from safetensors.numpy import save_file
from sinkscope_export.families import random_inputs, task_of
from support import run_script
from tiny_models import FAMILIES, HEADS, LAYERS, WIDTH, write_tiny_model

LENGTH, BATCH = 40, 3
TOLERANCE = 1e-5  # absolute for probabilities and nats, relative for norms
GROUPED = {"llama": 2, "qwen2": 2, "qwen3": 2}  # KV heads of the cached families where they are fewer than the query heads
CACHED = ["llama", "gpt2", "gpt_neox", "qwen2", "qwen3"]  # checked for keys, values and head outputs too


pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


@dataclass(frozen=True)
class Form:
    attention: str
    graph_only: bool

    def __str__(self) -> str:
        return f"{self.attention}-{'graph' if self.graph_only else 'stored'}"


FORMS = [Form(attention, graph_only) for attention in ("fused", "eager") for graph_only in (True, False)]
FULL = os.environ.get("SINKSCOPE_FAMILIES") == "full"
CASES = [(family, form) for family in FAMILIES for form in (FORMS if FULL else FORMS[:1])]


class Observed:
    """What transformers itself says of a model on the test's inputs: attentions, block states, logits, cache."""

    def __init__(self, model, inputs):
        model.set_attn_implementation("eager")
        task = task_of(model.config)
        self.states: dict[tuple[str, str], np.ndarray] = {}  # (module path, point) -> [N, T, d]
        handles = []
        for path, module in model.named_modules():
            if path.rpartition(".")[2].isdigit():
                handles += [module.register_forward_pre_hook(self._keep(path, "entering"), with_kwargs=True),
                            module.register_forward_hook(self._keep(path, "leaving"), with_kwargs=True)]
        caches = model.config.model_type in CACHED
        named = {"pixel_values" if task.input == "tensor" else "input_ids": inputs}
        if model.config.is_encoder_decoder:
            named["decoder_input_ids"] = inputs
        with torch.no_grad():
            out = model(**named, output_attentions=True, output_hidden_states=True, **({"use_cache": True} if caches else {}))
        for handle in handles:
            handle.remove()
        self.ids, self.logits = inputs.numpy(), out.logits.double().numpy()
        if model.config.is_encoder_decoder:  # in the order in which they run
            decoder = [a for pair in zip(out.decoder_attentions, out.cross_attentions, strict=True) for a in pair]
            attentions = [*out.encoder_attentions, *decoder]
        else:
            attentions = out.attentions
            self.hidden_states = [state.double().numpy() for state in out.hidden_states]
        cache = [(layer.keys, layer.values) for layer in out.past_key_values.layers] if caches else [(None, None)] * len(attentions)
        self.sites = [
            truth.Site(*(None if x is None else x.double() for x in (a, k, v))) for a, (k, v) in zip(attentions, cache, strict=True)
        ]

    def _keep(self, path, point):
        def keep(module, arguments, keywords, output=None):
            state = output if point == "leaving" else (arguments[0] if arguments else keywords["hidden_states"])
            state = state[0] if isinstance(state, tuple) else state
            self.states[path, point] = state.detach().double().numpy()

        return keep


class Case:
    """A family, exported and measured; `seen` is the original's own account."""

    def __init__(self, folder: Path, family: str, form: Form, dtype=torch.float32):
        self.family, self.form = family, form
        self.model = write_tiny_model(folder / "hf", family, dtype=dtype)
        task = task_of(self.model.config)
        self.causal = task.input == "tokens" and family not in ("bert", "roberta", "t5")
        flags = ("--graph-only",) if form.graph_only else ()
        result = run_script("export_hf.py", folder / "hf", "-o", folder / "m.pt", "--attention", form.attention, *flags)
        assert result.returncode == 0, result.stderr
        self.inputs = random_inputs(self.model.config, task, BATCH, LENGTH)
        if task.input == "tokens":
            source = ("--tokens", write_tokens(folder / "ids.jsonl", self.inputs))
        else:
            save_file({"pixels": self.inputs.numpy()}, folder / "pixels.safetensors")
            source = ("--tensor", folder / "pixels.safetensors")
        weights = ("--weights", folder / "hf") if form.graph_only else ()
        verify = ("--verify",) if family in CACHED else ()
        self.report = measure(folder / "m.pt", *source, *weights, *verify)
        self.metrics, self.sites = self.report["metrics"], self.report["sites"]
        assert not codes(self.report) & {"site_count", "unmatched_softmax"}
        self.seen = Observed(self.model, self.inputs)
        families_table.record(family, form, self.sites)

    def series(self, metric, name):
        return self.metrics[metric]["series"][name]["data"]

    def close(self, found, expected, *, relative=False):
        """Within the tolerance, element by element; remembers how far off."""
        found, expected = np.asarray(found, float), np.asarray(expected, float)
        error = np.abs(found - expected) / (np.maximum(np.abs(expected), 1e-12) if relative else 1)
        families_table.error(self.family, self.form, error.max())
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE if relative else 0, atol=0 if relative else TOLERANCE)


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Makes each case once, whoever asks first."""
    return functools.cache(lambda family, form: Case(tmp_path_factory.mktemp(family), family, form))


def parameters(pairs):
    return [pytest.param((family, form), id=f"{family}-{form}") for family, form in pairs]


@pytest.fixture(scope="session", params=parameters(CASES))
def case(request, cases):
    return cases(*request.param)


@pytest.fixture(scope="session", params=parameters((family, form) for family in CACHED for form in (FORMS[0], FORMS[-1])))
def cached(request, cases):
    """A case whose keys and values transformers hands out."""
    return cases(*request.param)


def per_head(case, metric):
    return case.metrics[metric]["per_head"]


def test_every_attention_layer_is_a_site_with_its_heads_and_nothing_else_is(case):
    layers = list(range(LAYERS))
    if case.family == "t5":  # each half counts from 0
        layers += [i for i in layers for _ in ("self", "cross")]
    assert [s["layer"] for s in case.sites] == layers
    assert len(case.sites) == len(case.seen.sites)
    assert {s["query_heads"] for s in case.sites} == {HEADS}
    assert {s["calls"] for s in case.sites} == {BATCH}


def test_cross_attention_is_told_apart(cases):
    case = cases("t5", FORMS[0])
    assert [s["kind"] for s in case.sites] == ["self"] * LAYERS + ["self", "cross"] * LAYERS


def test_first_token_mass_of_every_head_and_its_series(case):
    for site, expected in enumerate(map(truth.first_token_mass, case.seen.sites)):
        case.close(case.metrics["first_token_mass"]["per_head"][site], expected.pop(""))
        for name, values in expected.items():
            case.close(case.series("first_token_mass", name)[site], values)


def test_sink_rate_counts_sequences_above_epsilon_for_every_head_key_and_epsilon(case):
    alpha = np.stack([[truth.alpha(s, k, causal=case.causal) for k in range(10)] for s in case.seen.sites])  # [site, key, N, head]
    for epsilon in truth.EPSILONS:
        assert np.abs(alpha - epsilon).min() > 1e-6  # otherwise rounding decides, not the definition
    metric = case.metrics["sink_rate"]
    case.close(metric["per_head"], (alpha[:, 0] > 0.3).mean(axis=1))
    if case.family == "t5":
        return  # causal and bidirectional sites have different denominators, and cross attention is not in the headline
    case.close(metric["value"], (alpha[:, 0] > 0.3).mean())
    case.close(case.series("sink_rate", "by_key"), (alpha > 0.3).mean(axis=(0, 2, 3)))
    case.close(case.series("sink_rate", "by_epsilon"), [(alpha[:, 0] > e).mean() for e in truth.EPSILONS])


def test_attention_entropy_of_every_head_in_nats_and_normalised_by_the_visible_keys(case):
    case.close(per_head(case, "attention_entropy"), [truth.entropies(s).mean(axis=(0, 2)) for s in case.seen.sites])
    normalised = [truth.normalised_entropy(s, (s.attention > 0).sum(-1).max(axis=(0, 1))) for s in case.seen.sites]
    case.close(case.series("attention_entropy", "normalised"), normalised)


def test_dominant_key_is_the_largest_mean_column_over_all_queries(case):
    position, mass = zip(*map(truth.dominant_key, case.seen.sites), strict=True)
    assert np.array(case.series("dominant_key", "position")).tolist() == np.array(position).tolist()
    case.close(case.series("dominant_key", "mass"), mass)


def states_of(case):
    """What transformers has where the report has its streams."""
    return [case.seen.states[s["path"].removeprefix("m."), s["point"]] for s in case.report["streams"]]


def test_streams_enter_the_first_block_and_leave_every_block_before_the_final_norm(case):
    points = [(s["point"], s["layer"]) for s in case.report["streams"]]
    stack = [("entering", None), *(("leaving", i) for i in range(LAYERS))]
    assert points == (stack * 2 if case.family == "t5" else stack)
    if case.family != "t5":
        for ours, theirs in zip(states_of(case)[:-1], case.seen.hidden_states[:-1], strict=True):
            np.testing.assert_array_equal(ours, theirs)  # the hooks are where hidden_states are, but for the last


def test_hidden_norm_is_the_norm_at_position_0_and_the_mean_of_the_others(case):
    first, others = zip(*map(truth.first_and_others, states_of(case)), strict=True)
    case.close(case.series("hidden_norm", "first"), first, relative=True)
    case.close(case.series("hidden_norm", "others"), others, relative=True)
    ratio = np.divide(first, others)
    case.close(case.series("hidden_norm", "ratio"), ratio, relative=True)
    case.close(case.metrics["hidden_norm"]["value"], ratio.max(), relative=True)


def test_massive_activation_has_the_three_largest_magnitudes_and_the_lower_median_of_every_stream(case):
    expected = [truth.magnitudes(s) for s in states_of(case)]
    for name in ("top1", "top2", "top3", "median"):
        case.close(case.series("massive_activation", name), [e[name] for e in expected], relative=True)
    case.close(case.series("massive_activation", "ratio"), [e["top1"] / e["median"] for e in expected], relative=True)
    case.close(case.metrics["massive_activation"]["value"], max(e["top1"] for e in expected), relative=True)


def test_loss_is_the_mean_next_token_negative_log_likelihood(case):
    if not case.causal:
        pytest.skip("not a model of the next token")
    expected = truth.next_token_loss(case.seen.logits, case.seen.ids)
    case.close(case.metrics["loss"]["per_sequence"], expected, relative=True)
    case.close(case.metrics["loss"]["value"], expected.mean(), relative=True)


def test_sites_have_the_kv_heads_before_repetition_and_the_causal_mask(cached):
    assert {s["kv_heads"] for s in cached.sites} == {GROUPED.get(cached.family, HEADS)}
    assert {s["head_dim"] for s in cached.sites} == {WIDTH // HEADS}
    assert {s["mask"] for s in cached.sites} == {"causal"}
    assert {s["measured_by"] for s in cached.sites} == {"fused" if cached.form.attention == "fused" else "materialised"}


def test_verify_finds_the_logits_bit_identical_and_every_statistic_close_to_the_reference(cached):
    verify = cached.report["verify"]
    assert verify["logits_bit_identical"] is True
    assert verify["prefix_consistent"] is True
    assert verify["sequences"] == BATCH
    assert {"first_token_mass", "column_mean", "attention_entropy", "key_norm", "hidden_norm"} <= verify["max_error"].keys()
    assert max(verify["max_error"].values()) < TOLERANCE


def test_headline_per_site_and_per_sequence_first_token_mass_are_unweighted_means(cached):
    metric = cached.metrics["first_token_mass"]
    alpha = np.stack([truth.alpha(s, 0) for s in cached.seen.sites])  # [site, sequence, head]
    cached.close(metric["value"], alpha.mean())
    cached.close(metric["per_site"], alpha.mean(axis=(1, 2)))
    cached.close(metric["per_sequence"], alpha.mean(axis=(0, 2)))
    assert metric["count"] == alpha.size and metric["rejected"] == 0
    assert metric["ci95"][0] <= metric["value"] <= metric["ci95"][1]


def test_uniform_values_are_those_of_causal_attention_at_this_length(cached):
    h = truth.harmonic
    assert cached.metrics["first_token_mass"]["uniform"] == pytest.approx(h(LENGTH) / LENGTH, abs=1e-12)
    uniform = {name: np.array(s["uniform"]) for name, s in cached.metrics["first_token_mass"]["series"].items()}
    for name, value in (("excluding_first_query", (h(LENGTH) - 1) / (LENGTH - 1)),
                        ("after_first_k", 4 * (h(LENGTH) - h(4)) / (LENGTH - 4)), ("last_query", 1 / LENGTH)):
        np.testing.assert_allclose(uniform[name], value, atol=1e-12)
    assert cached.metrics["sink_rate"]["uniform"] == 0
    logs = np.log(np.arange(1, LENGTH + 1)).mean()
    assert cached.metrics["attention_entropy"]["uniform"] == pytest.approx(logs, abs=1e-12)


@pytest.mark.parametrize("which", ["key", "value"])
def test_key_and_value_norms_are_those_of_the_cache_by_kv_head(cached, which):
    ratios = []
    for site, s in enumerate(cached.seen.sites):
        first, others = truth.first_and_others(getattr(s, which))
        cached.close(cached.series(f"{which}_norm", "first")[site], first, relative=True)
        cached.close(cached.series(f"{which}_norm", "others")[site], others, relative=True)
        cached.close(cached.series(f"{which}_norm", "ratio")[site], first / others, relative=True)
        ratios.append(first / others)
    cached.close(cached.metrics[f"{which}_norm"]["value"], np.mean(ratios), relative=True)


def test_head_output_norm_is_the_norm_of_attention_times_values(cached):
    norms = np.stack([s.output_norm for s in cached.seen.sites])  # [site, sequence, head, query]
    cached.close(per_head(cached, "head_output_norm"), norms.mean(axis=(1, 3)), relative=True)
    cached.close(cached.series("head_output_norm", "last_token"), norms[..., -1].mean(axis=1), relative=True)


def test_the_twelve_dormant_head_scores_and_the_share_below_the_threshold(cached):
    scores = [truth.dormant_scores(s) for s in cached.seen.sites]
    assert len(scores[0]) == len(cached.metrics["dormant_head"]["series"]) == 12
    for name in scores[0]:
        cached.close(cached.series("dormant_head", name), [s[name].mean(axis=0) for s in scores], relative=True)
    dormant = np.stack([s["ahon_ln"] < 0.5 for s in scores])
    cached.close(per_head(cached, "dormant_head"), dormant.mean(axis=1))
    cached.close(cached.metrics["dormant_head"]["value"], dormant.mean())


def test_bfloat16_errs_at_most_twice_as_much_as_eager_bfloat16_against_float64(tmp_path):
    case = Case(tmp_path, "llama", Form("fused", False), torch.bfloat16)
    assert case.report["model"]["dtype"] == case.report["settings"]["dtype"] == "bfloat16"
    eager, exact = case.seen, Observed(case.model.double(), case.inputs)

    def worst(found, of):
        return max(np.abs(np.asarray(row, float) - of(site)).max() for row, site in zip(found, exact.sites, strict=True))

    for metric, of in (
        ("first_token_mass", lambda s: truth.alpha(s, 0).mean(0)),
        ("attention_entropy", lambda s: truth.entropies(s).mean(axis=(0, 2))),
        ("head_output_norm", lambda s: s.output_norm.mean(axis=(0, 2))),
    ):
        allowed = 2 * worst([of(site) for site in eager.sites], of)
        assert 0 < allowed < 0.5, metric
        assert worst(case.metrics[metric]["per_head"], of) <= allowed, metric
