"""sinkscope bench and scripts/bench.py: what they print, never how fast."""

import json
import subprocess

import pytest
from measuring import BINARY, environment
from support import DEMO, run_script_apart

from benchmark import page, plot, roofline, runs


@pytest.fixture(scope="module")
def result() -> dict:
    command = [BINARY, "bench", DEMO / "backcopy_3layer.pt", "--json", "--runs", "2", "--random-tokens", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environment())
    return json.loads(done.stdout)


def test_bench_prints_the_documented_keys(result):
    assert list(result) == ["sequences", "length", "device", "dtype", "plain", "presets", "attention"]
    assert (result["sequences"], result["length"], result["dtype"]) == (2, 64, "float32")
    assert set(result["presets"]) == {"quick", "full"}


def test_bench_values_are_sane(result):
    for timing in (result["plain"], *result["presets"].values()):
        assert 0 < timing["seconds"]["min"] <= timing["seconds"]["median"]
        assert timing["peak_memory_bytes"] > 0
    for preset in result["presets"].values():
        assert preset["ratio_to_plain"] > 0 and preset["passes"]
    assert "all keys" in result["presets"]["full"]["passes"]
    assert "all keys" not in result["presets"]["quick"]["passes"]
    assert result["attention"]["share_of_plain"] > 0 and result["attention"]["fused_pass_ratio"] > 0


def test_bench_script_has_help():
    done = run_script_apart("bench.py", "--help")
    assert done.returncode == 0 and "--quick-check" in done.stdout


@pytest.mark.parametrize("name", runs.PEERS)
def test_every_peer_answers(name, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 64}))
    peer = runs.Peer(runs.Setting(BINARY, None, config, "float32", 1, 0, 60), name, 32)
    try:
        assert peer.run()["seconds"] > 0
    finally:
        peer.close()


def test_kernel_bench_lines_become_a_roofline():
    kernel = roofline.parse_kernel_bench(
        "threads 2, capability AVX512, kernels AVX3_SPR\n"
        "Float     B    1 T   4096: first keys   1.00 ms, stream   2.00 ms (norms alone  0.50), key and head norms  0.25 ms, "
        "pass  50.00 ms\n"
        "Float     T   4096 D   64: forward    100.00 ms, pass     50.00 ms ( 171.8 GFLOP/s), ratio 0.500\n")
    rows = {row["pass"]: row for row in roofline.table(kernel, {"gemm_float32": 2e11, "exp": 1e9})}
    assert rows["fused pass"]["flops"] == 8 * 4096 * 4097 * 64
    assert rows["flash forward"]["flops"] == 2 * rows["fused pass"]["flops"]
    assert rows["fused pass"]["gemm_fraction"] == pytest.approx(8 * 4096 * 4097 * 64 / 2e11 / 0.05)
    assert rows["first keys"]["seconds"] == 0.001


def test_only_what_is_between_the_markers_is_replaced():
    assert page.replaced(f"a\n{page.BEGIN}\nold\n{page.END}\nb\n", "new") == f"a\n{page.BEGIN}\nnew\n{page.END}\nb\n"


def test_the_plot_is_well_formed():
    from xml.etree import ElementTree

    ElementTree.fromstring(plot.svg([("float32", {"plain": [(512, 0.1), (1024, 0.2)], "full": [(512, 0.2)]})], page.LABELS))
