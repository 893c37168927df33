"""A gate in CI, from end to end, on the checkpoints of the demo model: the sink forms over steps 0 to 1600."""

import json

import pytest
from lxml import etree
from measuring import MEASURES, checked, sinkscope
from support import DEMO, REPOSITORY
from test_check import JUNIT

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built with torch")

RULES = REPOSITORY / "configs" / "ci" / "sink_rules.toml"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    paths = {}
    for step in (200, 1400, 1600):
        paths[step] = folder / f"step{step}.json"
        weights = DEMO / "backcopy_1layer" / f"step{step}.safetensors"
        sinkscope("measure", DEMO / "backcopy_1layer.pt", "--weights", weights, "-q", "-o", paths[step])
        checked(paths[step].read_text())
    return paths


def test_the_whole_story_of_a_gate_in_ci(reports, tmp_path):
    baseline = tmp_path / "baseline.json"
    sinkscope("check", reports[1600], "--baseline", baseline, "--if-no-baseline", "create")
    assert baseline.read_bytes() == reports[1600].read_bytes()

    late = sinkscope("check", reports[1400], "--baseline", baseline, "--rules", RULES)
    assert late.stdout.splitlines()[-1].startswith("ok: ")

    out = tmp_path / "check.xml"
    early = sinkscope("check", reports[200], "--baseline", baseline, "--rules", RULES, "--junit", out, "--github", code=1)
    old, new = (json.loads(reports[step].read_text())["metrics"]["first_token_mass"]["per_head"][0][0] for step in (1600, 200))
    line = next(l for l in early.stdout.splitlines() if l.startswith("FAIL") and "first_token_mass" in l and "head" in l)
    for part in ("first_token_mass", "site 0 (blocks.0.attention)", "head 0", f"{old:.4g} -> {new:.4g}", f"change {new - old:+.3g}",
                 "tolerance 0.03"):  # fmt: skip
        assert part in line
    JUNIT.assertValid(etree.parse(out))
    assert "::error file=" in early.stdout

    sinkscope("check", reports[200], "--baseline", baseline, "--rules", RULES, "--update-baseline")
    sinkscope("check", reports[200], "--baseline", baseline, "--rules", RULES)


def test_the_gate_without_rules_sees_the_missing_sink_too(reports):
    sinkscope("check", reports[200], "--baseline", reports[1600], code=1)
    sinkscope("check", reports[1600], "--expect", "sink_rate>0.95")
    sinkscope("check", reports[200], "--expect", "sink_rate>0.95", code=1)


def test_a_measurement_with_another_epsilon_or_length_is_incomparable(reports, tmp_path):
    other = tmp_path / "other.json"
    weights = DEMO / "backcopy_1layer" / "step1600.safetensors"
    for flags, metrics, reason in [
        (["--set", "sink_rate.epsilon=0.2"], {"sink_rate"}, "parameters"),
        (["--length", "32"], None, "input"),
        (["--dtype", "bfloat16"], None, "dtype"),
    ]:
        sinkscope("measure", DEMO / "backcopy_1layer.pt", "--weights", weights, *flags, "-q", "-o", other)
        document = json.loads(sinkscope("check", other, "--baseline", reports[1600], "--json", code=1).stdout)
        found = {c["metric"] for c in document["comparisons"] if c["status"] == "INCOMPARABLE" and c["reason"] == reason}
        assert found == (metrics or {c["metric"] for c in document["comparisons"]})


def test_measure_writes_benchmark_json(tmp_path):
    out = tmp_path / "benchmark.json"
    sinkscope("measure", DEMO / "backcopy_1layer.pt", "--limit", "4", "-q", "--benchmark-json", out)
    entries = {entry["name"]: entry for entry in json.loads(out.read_text())}
    assert entries["sink_rate"]["unit"] == "fraction"
    assert "T = 64, N = 4" in entries["sink_rate"]["extra"]


def test_two_runs_of_one_command_do_not_differ(reports, tmp_path):
    again = tmp_path / "again.json"
    weights = DEMO / "backcopy_1layer" / "step1600.safetensors"
    sinkscope("measure", DEMO / "backcopy_1layer.pt", "--weights", weights, "-q", "-o", again)
    assert "0 of" in sinkscope("diff", reports[1600], again, "--exit-code").stdout.splitlines()[-1]
    text = sinkscope("diff", reports[1600], reports[200], "--exit-code", code=1).stdout
    assert "model.weights.sha256" in text and "first_token_mass" in text
