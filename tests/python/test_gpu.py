"""Whole models on a GPU: the same numbers as on the CPU, verified there, in every form of attention. Skipped without a GPU."""

from pathlib import Path

import pytest
from measuring import MEASURES, measure, sinkscope, write_tokens
from sinkscope_export.families import random_inputs, task_of
from support import REPOSITORY, run_script
from tiny_models import write_tiny_model

pytestmark = pytest.mark.skipif(not MEASURES or not Path("/dev/nvidiactl").exists(), reason="no GPU on this machine")

DEMO = REPOSITORY / "configs" / "demo" / "backcopy_3layer.pt"
METRICS = ("first_token_mass", "sink_rate", "attention_entropy", "dominant_key", "massive_activation", "hidden_norm", "key_norm",
           "value_norm", "head_output_norm", "loss")


def close(found, expected, tolerance):
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            close(a, b, tolerance)
    else:
        assert (found is None) == (expected is None)
        assert found is None or found == pytest.approx(expected, rel=tolerance, abs=tolerance)


def compare(gpu, cpu, tolerance):
    assert gpu["settings"]["device"] != cpu["settings"]["device"]
    for name in METRICS:
        a, b = gpu["metrics"][name], cpu["metrics"][name]
        close(a["value"], b["value"], tolerance)
        close(a["per_head"], b["per_head"], tolerance)
        for series in b["series"]:
            close(a["series"][series]["data"], b["series"][series]["data"], tolerance)


def test_the_demo_model_gives_the_same_numbers_as_on_the_cpu():
    compare(measure(DEMO, "--device", "cuda"), measure(DEMO, "--device", "cpu"), 1e-4)


def test_verification_on_the_gpu_finds_the_logits_bit_identical_and_small_errors():
    verify = measure(DEMO, "--device", "cuda", "--verify")["verify"]
    assert verify["logits_bit_identical"] is True
    assert max(verify["max_error"].values()) < 1e-4


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "gemma2", "gpt_oss", "bloom", "t5", "bert"])
@pytest.mark.parametrize("attention", ["fused", "eager"])
def test_families_give_the_same_numbers_as_on_the_cpu(family, attention, tmp_path):
    model = write_tiny_model(tmp_path / "hf", family)
    exported = run_script("export_hf.py", tmp_path / "hf", "-o", tmp_path / "m.pt", "--attention", attention)
    assert exported.returncode == 0, exported.stderr
    tokens = write_tokens(tmp_path / "ids.jsonl", random_inputs(model.config, task_of(model.config), 3, 40))
    gpu, cpu = (measure(tmp_path / "m.pt", "--tokens", tokens, "--device", device) for device in ("cuda", "cpu"))
    compare(gpu, cpu, 1e-3)


def test_long_bfloat16_sequences_are_measured_by_the_fused_pass(tmp_path):
    write_tiny_model(tmp_path / "hf", "llama")
    exported = run_script("export_hf.py", tmp_path / "hf", "-o", tmp_path / "m.pt", "--dtype", "bfloat16")
    assert exported.returncode == 0, exported.stderr
    report = measure(tmp_path / "m.pt", "--device", "cuda", "--random-tokens", "1", "--length", "64", "--verify")
    assert {site["measured_by"] for site in report["sites"]} == {"fused"}
    assert max(report["verify"]["max_error"].values()) < 0.05


def test_bench_times_the_gpu():
    result = sinkscope("bench", DEMO, "--device", "cuda", "--runs", "2")
    assert "full" in result.stdout
