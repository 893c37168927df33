"""sinkscope bench and scripts/bench.py: what they print, never how fast."""

import json
import subprocess
import sys

import bench
import numpy
import pytest
from measuring import BINARY, environment
from sinkscope_export.files import ScriptError
from support import DEMO, run_script_apart

from benchmark import machine, page, plot, roofline, runs


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


@pytest.fixture
def setting(tmp_path) -> runs.Setting:
    """A tiny model for the peers; sinkscope itself is not run with it."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 64}))
    return runs.Setting(BINARY, None, config, "float32", 1, 0, 60)


@pytest.fixture
def big_parent() -> None:
    """This process has had 1.5 GB in it, more than any child here takes."""
    numpy.ones(1_500_000_000, dtype=numpy.uint8)
    assert machine.peak_resident_bytes() > 1.5e9


@pytest.mark.parametrize("name", runs.PEERS)
def test_every_peer_answers_and_its_memory_is_its_own(name, setting, big_parent):
    peer = runs.Peer(setting, name, 32)
    try:
        answer = peer.run()
        assert answer["seconds"] > 0
        assert answer["peak_rss_bytes"] == pytest.approx(machine.peak_resident_bytes(peer.process.pid), rel=0.01)
        assert 5e7 < answer["peak_rss_bytes"] < 1.2e9
    finally:
        peer.close()


def test_the_memory_of_a_program_is_its_own_and_not_that_of_this_process(big_parent):
    outcome = runs.run_program([sys.executable, "-S", "-c", "x = bytearray(200_000_000); print('done')"])
    assert outcome.stdout == "done\n" and outcome.seconds > 0
    assert 2e8 < outcome.peak_rss_bytes < 2.6e8


def test_a_program_that_fails_is_named_with_its_exit_code_and_what_it_said():
    with pytest.raises(ScriptError, match="ended with 7: no luck"):
        runs.run_program([sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(7)"])


def entry_of(length: int, dtype: str = "float32", **seconds: float) -> dict:
    """An entry of the results in which each named peer took that long once; the others failed."""
    return {"dtype": dtype, "length": length, "peers": {
        name: {"runs": [{"seconds": seconds[name]}] if name in seconds else [], "skipped": None,
               "failed": None if name in seconds else "the peer ended before it answered"} for name in runs.PEERS}}


def test_a_peer_is_skipped_only_by_what_it_took_itself(setting):
    measured = [entry_of(512, eager=0.5), entry_of(1024, sdpa=1.0), entry_of(512, "bfloat16", two_pass=9.0),
                entry_of(8192, two_pass=900.0)]
    assert runs.estimate("eager", "float32", 4096, measured) == 0.5 * 64  # though it failed at 1024
    assert runs.reason_to_skip(setting, "eager", 4096, measured) is None
    assert runs.reason_to_skip(setting, "eager", 8192, measured) == "estimate 128 s"
    assert runs.estimate("sdpa", "float32", 4096, measured) == 16
    # Measured at a longer length and in another dtype only.
    assert runs.estimate("two_pass", "float32", 4096, measured) is None
    assert runs.reason_to_skip(setting, "two_pass", 4096, measured) is None


def test_a_peer_that_fails_is_shown_as_failed_and_tried_at_the_next_length(setting, monkeypatch):
    started = []

    class FailsAtFirst:
        def __init__(self, setting, name, length):
            started.append((name, length))
            if length == 512 and name == "eager":
                raise ChildProcessError("the peer ended before it answered")

        def run(self):
            return {"seconds": 0.001, "peak_rss_bytes": 1}

        def close(self):
            pass

    monkeypatch.setattr(runs, "Peer", FailsAtFirst)
    monkeypatch.setattr(runs, "bench_once", lambda *_: {})
    comparisons = []
    for length in (512, 1024):
        comparisons.append(runs.compare(setting, length, 3, comparisons))
    assert ("eager", 1024) in started
    assert page.absent(comparisons[0]["peers"]["eager"]) == "failed (the peer ended before it answered)"
    assert [len(entry["peers"]["eager"]["runs"]) for entry in comparisons] == [0, 3]
    assert [len(entry["peers"]["sdpa"]["runs"]) for entry in comparisons] == [3, 3]


def test_a_length_measured_again_is_put_in_its_place_and_a_new_one_is_kept():
    comparisons = [entry_of(512), entry_of(4096), entry_of(512, "bfloat16")]
    for new in (entry_of(4096, eager=1.0), entry_of(1024), entry_of(1024, "bfloat16")):
        bench.put(comparisons, new)
    assert [(entry["dtype"], entry["length"]) for entry in comparisons] == [
        ("float32", 512), ("float32", 1024), ("float32", 4096), ("bfloat16", 512), ("bfloat16", 1024)]
    assert comparisons[2]["peers"]["eager"]["runs"]


def test_kernel_bench_lines_become_a_roofline():
    kernel = roofline.parse_kernel_bench(
        "threads 2, capability AVX512, kernels AVX3_SPR\n"
        "Float     B    1 T   4096: first keys   1.00 ms, stream   2.00 ms (norms alone  0.50), key and head norms  0.25 ms, "
        "pass  50.00 ms\n"
        "Float     T   4096 D   64: forward    100.00 ms, pass     50.00 ms ( 171.8 GFLOP/s), ratio 0.500\n")
    rows = {row["pass"]: row for row in roofline.table(kernel, {"gemm_float32": 2e11, "exp": 1e9}, amx=False)}
    assert rows["fused pass"]["flops"] == 8 * 4096 * 4097 * 64
    assert rows["flash forward"]["flops"] == 2 * rows["fused pass"]["flops"]
    assert rows["fused pass"]["gemm_fraction"] == pytest.approx(8 * 4096 * 4097 * 64 / 2e11 / 0.05)
    assert rows["first keys"]["seconds"] == 0.001


@pytest.mark.parametrize(("amx", "products"), [(False, "float32"), (True, "bfloat16")])
def test_a_pass_is_held_against_the_gemm_of_the_dtype_in_which_it_multiplies(amx, products):
    """Without AMX the pass over bfloat16 multiplies in float32, which may be faster than the gemm in bfloat16."""
    kernel = roofline.parse_kernel_bench(
        "BFloat16  B    1 T   4096: first keys   1.00 ms, stream   2.00 ms (norms alone  0.50), key and head norms  0.25 ms, "
        "pass  50.00 ms\n"
        "BFloat16  T   4096 D   64: forward    100.00 ms, pass     50.00 ms ( 171.8 GFLOP/s), ratio 0.500\n")
    peaks = {"gemm_float32": 4e11, "gemm_bfloat16": 1e11, "exp": 1e9}
    rows = {row["pass"]: row for row in roofline.table(kernel, peaks, amx=amx)}
    expected = {"fused pass": products, "flash forward": "bfloat16", "first keys": "float32", "stream": "float32"}
    for name, dtype in expected.items():
        row = rows[name]
        assert row["arithmetic"] == dtype
        assert row["gemm_fraction"] == pytest.approx(row["flops"] / peaks[f"gemm_{dtype}"] / row["seconds"])


def test_only_what_is_between_the_markers_is_replaced():
    assert page.replaced(f"a\n{page.BEGIN}\nold\n{page.END}\nb\n", "new") == f"a\n{page.BEGIN}\nnew\n{page.END}\nb\n"


def test_the_plot_is_well_formed():
    from xml.etree import ElementTree

    ElementTree.fromstring(plot.svg([("float32", {"plain": [(512, 0.1), (1024, 0.2)], "full": [(512, 0.2)]})], page.LABELS))
