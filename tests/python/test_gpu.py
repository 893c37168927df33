"""Whole models on a GPU: the same numbers as on the CPU, verified there, in every form of attention. Skipped without a GPU."""

from pathlib import Path

import pytest
from gpu_compare import differences
from gpu_models import ATTENTION, FAMILIES, write_model
from measuring import MEASURES, measure, sinkscope
from support import DEMO as MODELS
from support import run_script
from tiny_models import write_tiny_model

pytestmark = pytest.mark.skipif(not MEASURES or not Path("/dev/nvidiactl").exists(), reason="no GPU on this machine")

DEMO = MODELS / "backcopy_3layer.pt"


def compare(model, tolerance):
    gpu, cpu = (measure(model, "--device", device) for device in ("cuda", "cpu"))
    assert not list(differences(gpu, cpu, tolerance))


def test_the_demo_model_gives_the_same_numbers_as_on_the_cpu():
    compare(DEMO, 1e-4)


def test_verification_on_the_gpu_finds_the_logits_bit_identical_and_small_errors():
    verify = measure(DEMO, "--device", "cuda", "--verify")["verify"]
    assert verify["logits_bit_identical"] is True
    assert max(verify["max_error"].values()) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ATTENTION)
def test_families_give_the_same_numbers_as_on_the_cpu(family, attention, tmp_path):
    compare(write_model(family, attention, tmp_path / "m.pt"), 1e-3)


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
