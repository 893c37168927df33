"""`check` and `diff` behind a closed pipe or a full disk: quiet or one error, and the results in files are there."""

import contextlib
import json
import os
import signal
import subprocess

import pytest
from measuring import BINARY, environment
from test_check import report

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason=f"{BINARY} is not built")


@contextlib.contextmanager
def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@contextlib.contextmanager
def full_disk():
    with open("/dev/full", "w") as file:
        yield file


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(report()))
    return path


def run(stdout, *arguments):
    return subprocess.run([BINARY, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)


@pytest.mark.parametrize("flags", [("check", "--json"), ("check",), ("diff",)], ids=" ".join)
def test_a_closed_pipe_ends_quietly(saved, flags):
    baseline = ("--baseline",) if flags[0] == "check" else ()
    with closed_pipe() as stdout:
        done = run(stdout, *flags, saved, *baseline, saved)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize(("stdout", "code"), [(closed_pipe, -signal.SIGPIPE), (full_disk, 2)])
def test_results_in_files_are_complete_whatever_becomes_of_stdout(saved, tmp_path, stdout, code):
    junit, benchmark = tmp_path / "junit.xml", tmp_path / "benchmark.json"
    with stdout() as stream:
        done = run(stream, "check", saved, "--baseline", saved, "--junit", junit, "--benchmark-json", benchmark)
    assert done.returncode == code and done.stderr.count("sinkscope: error:") == (code == 2)
    assert junit.read_text().endswith("</testsuites>\n") and json.loads(benchmark.read_text())


def test_one_result_on_a_full_disk_costs_neither_the_other_nor_the_table(saved, tmp_path):
    junit = tmp_path / "junit.xml"
    done = run(subprocess.PIPE, "check", saved, "--baseline", saved, "--junit", junit, "--benchmark-json", "/dev/full")
    assert done.returncode == 2 and "/dev/full: cannot be written: the disk is full" in done.stderr
    assert junit.read_text().endswith("</testsuites>\n") and done.stdout.splitlines()[-1].startswith("ok: ")
