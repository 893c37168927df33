"""The residual stream is found wherever a model adds to it, or the report says that it was not."""

import numpy as np
import odd_blocks
import odd_streams
import pytest
import torch
import truth
from measuring import MEASURES, codes, measure, refused
from odd_streams import LAYERS
from toys import write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")
METRICS = ("--metric", "hidden_norm", "--metric", "massive_activation")


def made(name: str) -> odd_streams.Model:
    torch.manual_seed(0)
    module = odd_streams if hasattr(odd_streams, name) else odd_blocks
    return getattr(module, name)().eval()


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
    "SummedScoresFirst": None,
    "ConditionedBlocks": None,
    "PostNormOutside": "stream_sum",
    "AddedTwice": "stream_sum",
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
    assert [(s["layer"], s["kind"]) for s in report["sites"]] == [(layer, "self") for layer in range(LAYERS)]
    assert {c for c in codes(report) if c.startswith("stream_")} == ({MODELS[name]} - {None})


def test_cross_attention_that_is_a_part_is_told_apart_and_its_layers_end_behind_it(tmp_path, ids, tokens):
    report = report_of("Decoder", tmp_path, tokens)
    sites = [(s["path"].split(".")[-1], s["layer"], s["kind"]) for s in report["sites"][1:]]
    assert sites == [(part, layer, kind) for layer in range(LAYERS) for part, kind in (("function", "self"), ("cross", "cross"))]
    states = [truth.first_and_others(s)[0] for s in states_of("Decoder", ids)]
    np.testing.assert_allclose(report["metrics"]["hidden_norm"]["series"]["first"]["data"][-4:], states, rtol=1e-5)


def test_the_last_state_of_a_stage_does_not_hold_what_the_next_adds(tmp_path, ids, tokens):
    report = report_of("Stages", tmp_path, tokens, *METRICS)
    states = [truth.first_and_others(s)[0] for s in states_of("Stages", ids)]
    np.testing.assert_allclose(report["metrics"]["hidden_norm"]["series"]["first"]["data"], states, rtol=1e-5)
    assert [s["layer"] for s in report["streams"]] == [None, *range(LAYERS)] * 2


def test_blocks_that_only_write_into_their_input_are_said_to_hand_on_nothing(tmp_path, tokens):
    """Tracing leaves them without a result; they are layers all the same."""
    report = report_of("WrittenIntoBlocks", tmp_path, tokens)
    assert "stream_not_seen" in codes(report) and report["streams"] == []
    assert [s["layer"] for s in report["sites"]] == list(range(LAYERS))


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


def test_the_jacobian_of_states_that_are_written_into_is_refused(tmp_path, tokens):
    path = write(made("PartsInPlace"), tmp_path / "m.pt")
    assert "cannot be differentiated" in refused("measure", path, "--tokens", tokens, "--metric", "mixing_jacobian", code=3)
