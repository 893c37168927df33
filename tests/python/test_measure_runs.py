"""A run as such: presets, outputs, dry runs, the Jacobian, and what an interrupted run leaves behind."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
from backcopy.model import BackcopyModel
from measuring import BINARY, MEASURES, checked, codes, environment, heed_interrupts, measure, sinkscope, warning
from safetensors.torch import load_file
from support import DEMO

ONE, THREE = DEMO / "backcopy_1layer.pt", DEMO / "backcopy_3layer.pt"
FULL = {"loss", "first_token_mass", "sink_rate", "dominant_key", "attention_entropy", "massive_activation", "hidden_norm",
        "key_norm", "value_norm", "head_output_norm", "dormant_head"}
EXACT_JACOBIAN = ("--metric", "mixing_jacobian", "--set", "mixing_jacobian.probes=0")
CSV_COLUMNS = ("checkpoint,step,training_tokens,metric,series,layer,site,path,head,kv_head,stream,position,coord,value,"
               "uniform,unit,count").split(",")

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def test_full_is_the_default_and_has_every_metric_but_those_only_named():
    report = measure(ONE, "--limit", 2)
    assert report["config"]["preset"] == "full"
    assert FULL <= report["metrics"].keys()
    assert "mixing_jacobian" not in report["metrics"]


def test_quick_looks_at_the_first_keys_only_and_says_so_in_the_table():
    report = measure(ONE, "--limit", 2, "--preset", "quick")
    assert "first_token_mass" in report["metrics"]
    assert not {"attention_entropy", "dominant_key"} & report["metrics"].keys()
    assert not {"aeqd", "aeqd_ln"} & report["metrics"]["dormant_head"]["series"].keys()
    table = sinkscope("measure", ONE, "--limit", 2, "--preset", "quick").stdout
    assert "preset quick (first keys only)" in " ".join(table.split())
    full = measure(ONE, "--limit", 2)["metrics"]
    for name, metric in report["metrics"].items():
        assert metric["value"] == full[name]["value"], name


def test_the_papers_protocol_runs_as_published_or_lists_what_departs():
    exact = measure(ONE, "--random-tokens", 100, "--preset", "gu2024")
    assert "protocol_deviation" not in codes(exact)
    assert (exact["input"]["sequences"], exact["input"]["length"]["max"]) == (100, 64)
    parameters = exact["metrics"]["sink_rate"]["parameters"]
    assert (parameters["epsilon"], parameters["comparator"], parameters["key"]) == (0.3, ">", 0)
    departed = measure(ONE, "--random-tokens", 20, "--length", 32, "--preset", "gu2024", "--set", "sink_rate.epsilon=0.2")
    message = warning(departed, "protocol_deviation")
    assert "length" in message and "epsilon" in message and "20" in message
    table = sinkscope("measure", ONE, "--random-tokens", 20, "--preset", "gu2024").stdout
    assert "gu2024*" in table
    assert "gu2024*" not in sinkscope("measure", ONE, "--random-tokens", 100, "--preset", "gu2024").stdout


def test_a_parameter_changes_the_number_and_stands_in_the_report():
    low, high = (measure(ONE, "--limit", 8, "--metric", "sink_rate", "--set", f"sink_rate.epsilon={e}") for e in (0.0, 0.99))
    assert (low["metrics"]["sink_rate"]["value"], high["metrics"]["sink_rate"]["value"]) == (1, 0)
    assert high["metrics"]["sink_rate"]["parameters"]["epsilon"] == 0.99
    assert low["config"]["sha256"] != high["config"]["sha256"]


def test_triggers_are_left_out_of_the_non_trigger_series():
    report = measure(ONE, "--metric", "first_token_mass", "--set", "first_token_mass.trigger=1,43,58")
    metric = report["metrics"]["first_token_mass"]
    mass = metric["series"]["non_trigger"]["data"][0][0]
    assert mass > metric["value"] + 0.05  # triggers look at what they copy, the others at the first token
    without = measure(ONE, "--limit", 1, "--metric", "first_token_mass")["metrics"]["first_token_mass"]
    assert "non_trigger" not in without["series"]


def test_all_outputs_of_one_run_hold_the_same_report(tmp_path):
    paths = {flag: tmp_path / f"out{flag.replace('-', '_')}" for flag in ("-o", "--csv", "--markdown")}
    done = sinkscope("measure", THREE, "--limit", 4, "--json", *(x for pair in paths.items() for x in pair))
    report = checked(done.stdout)
    assert checked(paths["-o"].read_text()) == report
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths.values())
    rows = list(csv.DictReader(io.StringIO(paths["--csv"].read_text())))
    assert list(rows[0]) == CSV_COLUMNS
    heads = {(int(r["site"]), int(r["head"])): float(r["value"]) for r in rows
             if r["metric"] == "first_token_mass" and r["series"] == "per_head"}
    expected = report["metrics"]["first_token_mass"]["per_head"]
    assert heads == {(s, h): v for s, row in enumerate(expected) for h, v in enumerate(row)}
    assert f"{report['metrics']['sink_rate']['value']:.2g}".lstrip("0") in paths["--markdown"].read_text()
    shown = sinkscope("show", paths["-o"], "--csv").stdout
    assert shown.splitlines()[1:] and shown.splitlines()[0] == ",".join(CSV_COLUMNS)


def test_doubles_of_a_report_read_back_exactly_and_a_long_list_is_not_one_number_a_line(tmp_path):
    sinkscope("measure", THREE, "--limit", 64, "-o", tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    value = checked(text)["metrics"]["first_token_mass"]["value"]
    assert repr(value) in text
    longest = max(len(m.get("per_sequence", [])) for m in checked(text)["metrics"].values())
    assert longest == 64 and len(text.splitlines()) < 1000


def test_a_dry_run_lists_sites_metrics_passes_and_cost_and_runs_nothing(tmp_path):
    done = sinkscope("measure", THREE, "--dry-run", "--random-tokens", 1000000, "-o", tmp_path / "r.json", timeout=60)
    for text in ("3 attention sites", "blocks.2.attention  sdpa", "first_token_mass", "dormant_head", "1000000 sequences",
                 "1  forward of the model", "one more Q K^T pass", "one pass over every residual stream", "parameters 2.5 MB"):
        assert text in done.stdout, text
    assert list(tmp_path.iterdir()) == []


def test_the_jacobian_runs_only_when_named_and_is_causal():
    report = measure(THREE, "--random-tokens", 3, "--length", 7, *EXACT_JACOBIAN, "--set", "mixing_jacobian.targets=3,-1")
    metric = report["metrics"]["mixing_jacobian"]
    norm, share = (np.array(metric["series"][name]["data"]) for name in ("norm", "share"))
    assert norm.shape == share.shape == (2, 7)
    assert metric["series"]["norm"]["coords"]["target"]["data"] == [3, 6]
    assert (norm[0, 4:] == 0).all() and (norm[0, :4] > 0).all() and (norm[1] > 0).all()
    np.testing.assert_allclose(share.sum(1), 1, atol=1e-9)
    assert metric["value"] == pytest.approx(np.concatenate([norm[0, :3], norm[1, :6]]).mean(), rel=1e-9)
    by_distance = metric["series"]["by_distance"]
    assert by_distance["coords"]["distance"]["data"] == list(range(7))
    expected = [np.mean([norm[t, p - d] for t, p in ((0, 3), (1, 6)) if p >= d]) for d in range(7)]
    np.testing.assert_allclose(by_distance["data"], expected, rtol=1e-9)


def test_the_exact_jacobian_is_that_of_full_differentiation():
    model = BackcopyModel(67, 128, 128, layers=1, heads=1).double()
    model.load_state_dict(load_file(DEMO / "backcopy_1layer" / "step1600.safetensors"))
    ids = [3, 17, 9, 40, 22]
    report = measure(ONE, "--tokens", "-", *EXACT_JACOBIAN, stdin=json.dumps(ids) + "\n")
    positions = torch.arange(len(ids))
    state = (model.token_embedding(torch.tensor([ids])) + model.position_embedding(positions)).detach()
    jacobian = torch.autograd.functional.jacobian(lambda x: model.blocks[0](x)[0, -1], state)[:, 0]  # [d, T, d]
    expected = jacobian.pow(2).sum((0, 2)).sqrt().numpy()
    np.testing.assert_allclose(report["metrics"]["mixing_jacobian"]["series"]["norm"]["data"][0], expected, rtol=1e-4)


class Run:
    """A long run in the background: a million tokens of the 3-layer model."""

    def __init__(self, output, *flags):
        command = [str(BINARY), "measure", str(THREE), "--random-tokens", "20000", "--batch", "8", "-o", str(output), *flags]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            preexec_fn=heed_interrupts,
        )

    def stop(self, number, after=4.0):
        time.sleep(after)
        assert self.process.poll() is None, "the run ended before the signal"
        self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stdout, stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_an_interrupted_run_writes_what_is_complete_and_says_so(tmp_path, number, code):
    returncode, _, stderr = Run(tmp_path / "r.json").stop(number)
    assert returncode == code
    report = checked((tmp_path / "r.json").read_text())
    assert report["complete"] is False
    metric = report["metrics"]["first_token_mass"]
    measured = [v for v in metric["per_sequence"] if v is not None]
    assert 0 < len(measured) < 20000 and metric["count"] == 6 * len(measured)
    assert metric["value"] == pytest.approx(np.mean(measured), rel=1e-9)
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]
    assert "Traceback" not in stderr and "frame #" not in stderr
    assert "incomplete" in sinkscope("show", tmp_path / "r.json").stdout.lower()


def test_progress_shows_rate_and_time_left_on_a_terminal_and_nowhere_else(tmp_path):
    flags = ["measure", str(THREE), "--random-tokens", "600", "--batch", "8", "-o", str(tmp_path / "r.json")]
    assert sinkscope(*flags).stderr == ""
    outer, inner = pty.openpty()
    process = subprocess.Popen([str(BINARY), *flags], stdout=subprocess.DEVNULL, stderr=inner, env=environment(TERM="xterm"))
    os.close(inner)
    shown = b""
    while True:
        try:
            piece = os.read(outer, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.wait(timeout=60) == 0
    os.close(outer)
    text = shown.decode()
    assert "measuring" in text and "tokens/s" in text and "600" in text and "left" in text
