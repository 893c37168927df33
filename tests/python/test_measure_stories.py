"""A trained model on real text, converted, exported and measured by the project's own scripts: a true negative."""

import numpy as np
import pytest
from measuring import MEASURES, measure
from support import run_script
from truth import harmonic

PUBLISHED = """.037 .073 .097 .086 .046 .027 .040 .051
.060 .191 .109 .025 .082 .073 .038 .082
.031 .026 .036 .039 .125 .101 .192 .152
.108 .076 .052 .065 .056 .059 .034 .078
.184 .116 .089 .085 .149 .176 .048 .066"""  # data/README.md; layers by heads
BOS_PEAKS = [3.66, 4.21, 4.69, 7.03]  # largest |h| at BOS after layers 1 to 4, where no other token has a larger one

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def run(name, *arguments):
    result = run_script(name, *arguments)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="session")
def stories(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    source, model = shared / "data" / "stories260K", folder / "stories260K"
    run("convert_llama2c.py", source / "stories260K.bin", source / "tok512.bin", "-o", model)
    text = shared / "data" / "corpora" / "tinystories_niklas6_197k.txt"
    cut = ("--length", 64, "--sequences", 100, "--split", "documents")
    run("tokenize_hf.py", model, "--text", text, *cut, "-o", folder / "t.jsonl")
    run("export_hf.py", model, "-o", folder / "m.pt")
    return measure(folder / "m.pt", "--tokens", folder / "t.jsonl", "--verify"), folder


def test_a_trained_model_without_a_sink_is_reported_without_one(stories):
    report, _ = stories
    assert report["input"]["sequences"] == 100 and report["input"]["length"] == {"min": 64, "max": 64}
    assert report["input"]["position_0_ids"] == {"1": 100}
    mass = report["metrics"]["first_token_mass"]
    assert mass["value"] == pytest.approx(0.082, abs=0.01)
    assert mass["uniform"] == pytest.approx(harmonic(64) / 64, abs=1e-12)
    assert max(max(heads) for heads in mass["per_head"]) == pytest.approx(0.192, abs=0.03)
    assert report["metrics"]["sink_rate"]["value"] < 0.005


def test_every_head_is_near_its_published_first_token_mass(stories):
    expected = np.array(PUBLISHED.split(), float).reshape(5, 8)
    np.testing.assert_allclose(stories[0]["metrics"]["first_token_mass"]["per_head"], expected, atol=0.04)  # of other windows


def test_the_loss_proves_that_conversion_tokenizer_and_bos_belong_together(stories):
    assert stories[0]["metrics"]["loss"]["value"] == pytest.approx(1.2, abs=0.35)
    assert stories[0]["warnings"] == []


def test_grouped_heads_streams_and_provenance_are_those_of_the_model(stories):
    report, _ = stories
    assert {(s["query_heads"], s["kv_heads"], s["head_dim"]) for s in report["sites"]} == {(8, 4, 8)}
    assert [(s["point"], s["layer"]) for s in report["streams"]] == [("entering", None), *(("leaving", i) for i in range(5))]
    assert report["input"]["tokenizer"]["sha256"] == report["model"]["metadata"]["tokenizer"]["sha256"]
    assert report["input"]["corpus"]["name"] == "tinystories_niklas6_197k.txt"
    top = report["metrics"]["massive_activation"]["series"]["top1"]["data"]
    np.testing.assert_allclose(top[1:5], BOS_PEAKS, rtol=0.02)
    assert report["metrics"]["massive_activation"]["series"]["is_massive"]["data"] == [0] * 6


def test_every_statistic_agrees_with_the_float64_reference(stories):
    verify = stories[0]["verify"]
    assert verify["logits_bit_identical"] is True and verify["prefix_consistent"] is True
    assert max(verify["max_error"].values()) < 1e-5


def test_random_tokens_after_bos_give_the_recorded_largest_head_and_sink_rate(stories):
    flags = ("--random-tokens", 100, "--bos", 1, "--metric", "first_token_mass", "--metric", "sink_rate")
    metrics = measure(stories[1] / "m.pt", *flags)["metrics"]
    assert max(max(heads) for heads in metrics["first_token_mass"]["per_head"]) == pytest.approx(0.287, abs=0.02)
    assert metrics["sink_rate"]["value"] == pytest.approx(0.032, abs=0.01)
