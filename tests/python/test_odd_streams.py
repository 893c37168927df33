"""The residual stream is found wherever a model adds to it, or the report says that it was not."""

import numpy as np
import odd_streams
import pytest
import torch
import truth
from measuring import MEASURES, codes, measure
from odd_streams import LAYERS
from toys import write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")
METRICS = ("--metric", "hidden_norm", "--metric", "massive_activation")


def made(name: str) -> odd_streams.Model:
    torch.manual_seed(0)
    return getattr(odd_streams, name)().eval()


def report_of(name, tmp_path, tokens, *flags):
    return measure(write(made(name), tmp_path / "m.pt"), "--tokens", tokens, *flags)


def states_of(name, ids) -> list[np.ndarray]:
    model = made(name).double()
    with torch.no_grad():
        model(ids)
    return [state.numpy() for state in model.states]


MODELS = {  # the warning about the streams
    "Parts": None,
    "PartsInPlace": None,
    "TiedParts": None,
    "NormParts": None,
    "PostNormParts": None,
    "ScaledParts": None,
    "GatedParts": None,
    "SeparateLists": "stream_sum",
    "Attributes": "stream_sum",
    "Deltas": "stream_sum",
    "DeferredSums": "stream_sum",
    "DeferredSumsResidualFirst": "stream_sum",
    "Blocks": None,
    "SharedAttention": None,
    "SummedScores": None,
    "NoResidual": "stream_not_residual",
}


@pytest.mark.parametrize("name", MODELS)
def test_the_streams_are_the_states_between_the_layers(tmp_path, ids, tokens, name):
    report = report_of(name, tmp_path, tokens, *METRICS)
    states = states_of(name, ids)
    assert len(states) == LAYERS + 1
    metrics = report["metrics"]
    first, others = np.transpose([truth.first_and_others(s) for s in states])
    np.testing.assert_allclose(metrics["hidden_norm"]["series"]["first"]["data"], first, rtol=1e-5)
    np.testing.assert_allclose(metrics["hidden_norm"]["series"]["others"]["data"], others, rtol=1e-5)
    largest = [np.abs(s).max((1, 2)).mean() for s in states]
    np.testing.assert_allclose(metrics["massive_activation"]["series"]["top1"]["data"], largest, rtol=1e-5)
    assert [s["layer"] for s in report["streams"]] == [None, *range(LAYERS)]
    assert [s["layer"] for s in report["sites"]] == list(range(LAYERS))
    assert {c for c in codes(report) if c.startswith("stream_")} == ({MODELS[name]} - {None})


def test_a_state_in_two_halves_is_said_to_be_measured_in_part(tmp_path, tokens):
    assert "stream_several" in codes(report_of("Reversible", tmp_path, tokens))


def test_a_shared_attention_has_the_path_of_its_module_and_the_layers_of_its_callers(tmp_path, tokens):
    report = report_of("SharedAttention", tmp_path, tokens)
    assert len({s["path"] for s in report["sites"]}) == 1 and "?" not in report["sites"][0]["path"]
    assert [s["ordinal"] for s in report["sites"]] == [0, 1, 2] and "site_reused" in codes(report)
    assert [s["path"] for s in report["streams"]] == ["layers.0", "layers.0", "layers.1", "layers.2"]


def test_the_jacobian_of_parts_is_that_of_the_same_layers_as_modules(tmp_path, tokens):
    """The residual bypasses the parts: a tap within the first would miss it."""
    flags = ("--metric", "mixing_jacobian", "--set", "mixing_jacobian.targets=3")
    parts, blocks = (report_of(name, tmp_path, tokens, *flags)["metrics"]["mixing_jacobian"] for name in ("Parts", "Blocks"))
    assert parts["value"] == pytest.approx(blocks["value"], rel=1e-6)
