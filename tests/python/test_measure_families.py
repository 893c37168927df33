"""Exported Hugging Face families: every statistic of a report against float64 numpy on transformers' eager attention."""

import numpy as np
import pytest
import torch
import truth
from measuring import MEASURES, measure, write_tokens
from support import run_script
from tiny_models import HEADS, LAYERS, VOCABULARY, WIDTH, write_tiny_model

FAMILIES = ["llama", "gpt2", "gpt_neox", "qwen2", "mistral"]
GROUPED = {"llama": 2, "qwen2": 2, "mistral": 2}  # KV heads where they are fewer than the query heads
LENGTH, BATCH = 40, 3
TOLERANCE = 1e-5  # absolute for probabilities and nats, relative for norms

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


class Observed:
    """What transformers itself says of a model on the test's ids: attentions, cache, block states, logits."""

    def __init__(self, model, ids):
        model.set_attn_implementation("eager")
        blocks = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == LAYERS)
        streams = []

        def keep(state):
            streams.append((state[0] if isinstance(state, tuple) else state).detach().double().numpy())

        hooks = [blocks[0].register_forward_pre_hook(lambda m, inputs: keep(inputs[0]))]
        hooks += [block.register_forward_hook(lambda m, inputs, output: keep(output)) for block in blocks]
        with torch.no_grad():
            out = model(ids, output_attentions=True, output_hidden_states=True, use_cache=True)
        for hook in hooks:
            hook.remove()
        self.ids, self.streams = ids.numpy(), streams
        self.hidden_states = [state.double().numpy() for state in out.hidden_states]
        self.logits = out.logits.double().numpy()
        cache = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        self.sites = [truth.Site(a.double(), k.double(), v.double()) for a, (k, v) in zip(out.attentions, cache, strict=True)]


class Case:
    """A family, exported and measured; `seen` is the original's own account."""

    def __init__(self, folder, family, attention, dtype=torch.float32):
        self.family, self.attention = family, attention
        self.model = write_tiny_model(folder / "hf", family, dtype=dtype)
        result = run_script("export_hf.py", folder / "hf", "-o", folder / "m.pt", "--attention", attention)
        assert result.returncode == 0, result.stderr
        self.ids = torch.randint(VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(5))
        tokens = write_tokens(folder / "ids.jsonl", self.ids)
        self.report = measure(folder / "m.pt", "--tokens", tokens, "--verify")
        self.metrics = self.report["metrics"]
        self.seen = Observed(self.model, self.ids)

    def series(self, metric, name):
        return np.array(self.metrics[metric]["series"][name]["data"], float)


@pytest.fixture(scope="session", params=[(f, a) for f in FAMILIES for a in ("fused", "eager")], ids="-".join)
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp("family"), *request.param)


def per_head(case, metric):
    return np.array(case.metrics[metric]["per_head"], float)


def close(found, expected, *, relative=False):
    expected = np.asarray(expected, float)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE if relative else 0, atol=0 if relative else TOLERANCE)


def test_sites_are_the_layers_with_their_heads_and_kv_heads_before_repetition(case):
    sites = case.report["sites"]
    assert [s["layer"] for s in sites] == list(range(LAYERS))
    assert [s["query_heads"] for s in sites] == [HEADS] * LAYERS
    assert [s["kv_heads"] for s in sites] == [GROUPED.get(case.family, HEADS)] * LAYERS
    assert {s["head_dim"] for s in sites} == {WIDTH // HEADS}
    assert {s["mask"] for s in sites} == {"causal"}
    assert {s["kind"] for s in sites} == {"self"}
    assert {s["calls"] for s in sites} == {BATCH}
    assert {s["measured_by"] for s in sites} == {"fused" if case.attention == "fused" else "materialised"}


def test_verify_finds_the_logits_bit_identical_and_every_statistic_close_to_the_reference(case):
    verify = case.report["verify"]
    assert verify["logits_bit_identical"] is True
    assert verify["prefix_consistent"] is True
    assert verify["sequences"] == BATCH
    assert {"first_token_mass", "column_mean", "attention_entropy", "key_norm", "hidden_norm"} <= verify["max_error"].keys()
    assert max(verify["max_error"].values()) < TOLERANCE


def test_first_token_mass_of_every_head_and_its_series(case):
    for site, expected in enumerate(map(truth.first_token_mass, case.seen.sites)):
        close(case.metrics["first_token_mass"]["per_head"][site], expected.pop(""))
        for name, values in expected.items():
            close(case.series("first_token_mass", name)[site], values)


def test_headline_per_site_and_per_sequence_first_token_mass_are_unweighted_means(case):
    metric = case.metrics["first_token_mass"]
    alpha = np.stack([truth.alpha(s, 0) for s in case.seen.sites])  # [site, sequence, head]
    close(metric["value"], alpha.mean())
    close(metric["per_site"], alpha.mean(axis=(1, 2)))
    close(metric["per_sequence"], alpha.mean(axis=(0, 2)))
    assert metric["count"] == alpha.size and metric["rejected"] == 0
    assert metric["ci95"][0] <= metric["value"] <= metric["ci95"][1]


def test_uniform_values_are_those_of_causal_attention_at_this_length(case):
    h = truth.harmonic
    assert case.metrics["first_token_mass"]["uniform"] == pytest.approx(h(LENGTH) / LENGTH, abs=1e-12)
    uniform = {name: np.array(s["uniform"]) for name, s in case.metrics["first_token_mass"]["series"].items()}
    for name, value in (("excluding_first_query", (h(LENGTH) - 1) / (LENGTH - 1)),
                        ("after_first_k", 4 * (h(LENGTH) - h(4)) / (LENGTH - 4)), ("last_query", 1 / LENGTH)):
        np.testing.assert_allclose(uniform[name], value, atol=1e-12)
    assert case.metrics["sink_rate"]["uniform"] == 0
    logs = np.log(np.arange(1, LENGTH + 1)).mean()
    assert case.metrics["attention_entropy"]["uniform"] == pytest.approx(logs, abs=1e-12)


def test_sink_rate_counts_sequences_above_epsilon_for_every_head_key_and_epsilon(case):
    alpha = np.stack([[truth.alpha(s, k) for k in range(10)] for s in case.seen.sites])  # [site, key, sequence, head]
    for epsilon in truth.EPSILONS:
        assert np.abs(alpha - epsilon).min() > 1e-6  # otherwise rounding decides, not the definition
    metric = case.metrics["sink_rate"]
    close(metric["per_head"], (alpha[:, 0] > 0.3).mean(axis=1))
    close(metric["value"], (alpha[:, 0] > 0.3).mean())
    close(case.series("sink_rate", "by_key"), (alpha > 0.3).mean(axis=(0, 2, 3)))
    close(case.series("sink_rate", "by_epsilon"), [(alpha[:, 0] > e).mean() for e in truth.EPSILONS])
    assert metric["series"]["by_epsilon"]["coords"]["epsilon"]["data"] == truth.EPSILONS


def test_attention_entropy_of_every_head_in_nats_and_normalised_by_the_visible_keys(case):
    close(per_head(case, "attention_entropy"), [truth.entropies(s).mean(axis=(0, 2)) for s in case.seen.sites])
    visible = np.arange(1, LENGTH + 1)
    close(case.series("attention_entropy", "normalised"), [truth.normalised_entropy(s, visible) for s in case.seen.sites])


def test_dominant_key_is_the_largest_mean_column_over_all_queries(case):
    position, mass = zip(*map(truth.dominant_key, case.seen.sites), strict=True)
    assert case.series("dominant_key", "position").tolist() == np.array(position).tolist()
    close(case.series("dominant_key", "mass"), mass)
    assert case.metrics["dominant_key"]["value"] == pytest.approx((np.array(position) == 0).mean())
    assert case.metrics["dominant_key"]["ci95"] is None and case.metrics["dominant_key"]["uniform"] == 1


def test_streams_enter_the_first_block_and_leave_every_block_before_the_final_norm(case):
    streams = case.report["streams"]
    assert [(s["point"], s["layer"]) for s in streams] == [("entering", None), *(("leaving", i) for i in range(LAYERS))]
    seen = case.seen
    assert len(seen.streams) == LAYERS + 1
    for ours, theirs in zip(seen.streams[:-1], seen.hidden_states[:-1], strict=True):
        np.testing.assert_array_equal(ours, theirs)  # the hooks are where hidden_states are, but for the last
    first, others = zip(*map(truth.first_and_others, seen.streams), strict=True)
    close(case.series("hidden_norm", "first"), first, relative=True)
    close(case.series("hidden_norm", "others"), others, relative=True)
    ratio = np.divide(first, others)
    close(case.series("hidden_norm", "ratio"), ratio, relative=True)
    close(case.metrics["hidden_norm"]["value"], ratio.max(), relative=True)


def test_massive_activation_has_the_three_largest_magnitudes_and_the_lower_median_of_every_stream(case):
    expected = [truth.magnitudes(s) for s in case.seen.streams]
    for name in ("top1", "top2", "top3", "median"):
        close(case.series("massive_activation", name), [e[name] for e in expected], relative=True)
    close(case.series("massive_activation", "ratio"), [e["top1"] / e["median"] for e in expected], relative=True)
    close(case.metrics["massive_activation"]["value"], max(e["top1"] for e in expected), relative=True)
    assert case.metrics["massive_activation"]["series"]["is_massive"]["data"] == [0] * (LAYERS + 1)
    assert case.metrics["massive_activation"]["locations"] == []


@pytest.mark.parametrize("which", ["key", "value"])
def test_key_and_value_norms_are_those_of_the_cache_by_kv_head(case, which):
    ratios = []
    for site, s in enumerate(case.seen.sites):
        first, others = truth.first_and_others(getattr(s, which))
        close(case.series(f"{which}_norm", "first")[site], first, relative=True)
        close(case.series(f"{which}_norm", "others")[site], others, relative=True)
        close(case.series(f"{which}_norm", "ratio")[site], first / others, relative=True)
        ratios.append(first / others)
    close(case.metrics[f"{which}_norm"]["value"], np.mean(ratios), relative=True)


def test_head_output_norm_is_the_norm_of_attention_times_values(case):
    norms = np.stack([s.output_norm for s in case.seen.sites])  # [site, sequence, head, query]
    close(per_head(case, "head_output_norm"), norms.mean(axis=(1, 3)), relative=True)
    close(case.series("head_output_norm", "last_token"), norms[..., -1].mean(axis=1), relative=True)


def test_the_twelve_dormant_head_scores_and_the_share_below_the_threshold(case):
    scores = [truth.dormant_scores(s) for s in case.seen.sites]
    assert len(scores[0]) == len(case.metrics["dormant_head"]["series"]) == 12
    for name in scores[0]:
        close(case.series("dormant_head", name), [s[name].mean(axis=0) for s in scores], relative=True)
    dormant = np.stack([s["ahon_ln"] < 0.5 for s in scores])
    close(per_head(case, "dormant_head"), dormant.mean(axis=1))
    close(case.metrics["dormant_head"]["value"], dormant.mean())


def test_loss_is_the_mean_next_token_negative_log_likelihood(case):
    expected = truth.next_token_loss(case.seen.logits, case.seen.ids)
    close(case.metrics["loss"]["per_sequence"], expected, relative=True)
    close(case.metrics["loss"]["value"], expected.mean(), relative=True)


def test_bfloat16_errs_at_most_twice_as_much_as_eager_bfloat16_against_float64(tmp_path):
    case = Case(tmp_path, "llama", "fused", torch.bfloat16)
    assert case.report["model"]["dtype"] == case.report["settings"]["dtype"] == "bfloat16"
    eager, exact = case.seen, Observed(case.model.double(), case.ids)

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
