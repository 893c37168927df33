"""Sweeps that are killed, stopped, doubled or robbed: nothing half-written stays, nothing is lost, nothing is measured twice."""

import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest
from measuring import BINARY, MEASURES, checked, environment
from safetensors.numpy import load_file, save_file
from support import DEMO
from sweeping import CHECKPOINTS, FAST, ONE, reports, rows, same_sweep, start, statuses, sweep

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")

KILLS = int(os.environ.get("SINKSCOPE_TEST_KILLS", "20"))
FULL = ("--limit", 8, "--threads", 1)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Twenty-four different checkpoints, small enough that moments of every kind are hit."""
    folder = tmp_path_factory.mktemp("many")
    tensors = load_file(CHECKPOINTS[3])
    name = next(iter(tensors))
    for step in range(24):
        save_file(tensors | {name: tensors[name] + step / 1000}, folder / f"step{step}.safetensors")
    return sorted(folder.glob("*.safetensors"))


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed") / "sweep"
    began = time.monotonic()
    sweep(ONE, "--weights", *many, "-o", directory, *FULL)
    return directory, time.monotonic() - began


def leftovers(directory):
    return [path.name for path in directory.rglob("*.tmp")]


def test_killed_at_any_moment_a_sweep_leaves_only_complete_reports(tmp_path, many, undisturbed):
    whole, seconds = undisturbed
    seed = 20260131
    moments = random.Random(seed)
    directory = tmp_path / "sweep0"
    in_the_middle = 0

    def finish():
        sweep(ONE, "--weights", *many, "-o", directory, *FULL)
        same_sweep(directory, whole)
        assert leftovers(directory) == []

    for kill in range(KILLS):
        process = start(ONE, "--weights", *many, "-o", directory, *FULL)
        time.sleep(moments.uniform(0, seconds / 3))
        in_the_middle += process.poll() is None
        process.kill()
        process.communicate()
        finished = [path for path in directory.rglob("*.json") if path.name != "sweep.json"]
        for path in finished:
            checked(path.read_text())
        if (directory / "sweep.json").exists():
            assert set(statuses(directory).values()) <= {"done", "pending"}, (seed, kill)
        if len(finished) == len(many):  # nothing left to disturb
            finish()
            directory = tmp_path / f"sweep{kill + 1}"
    finish()
    assert in_the_middle >= KILLS / 2


def test_two_processes_share_a_directory_without_losing_or_repeating_anything(tmp_path, many, undisturbed):
    directory = tmp_path / "sweep"
    processes = [start(ONE, "--weights", *many, "-o", directory, *FULL, "-v") for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    measured = [line.split(": ")[1] for text in said for line in text.splitlines() if "measured in" in line]
    assert sorted(measured) == sorted(path.stem for path in many)
    assert all("measured in" in text for text in said)  # both worked
    same_sweep(directory, undisturbed[0])


def test_the_claim_of_a_killed_process_does_not_hold_up_the_next(tmp_path):
    directory = tmp_path / "sweep"
    process = start(ONE, "--weights", *CHECKPOINTS, "-o", directory, *FULL)
    claims = directory / ".sinkscope" / "claims"
    wait_for(lambda: claims.exists() and any(claims.iterdir()))
    process.kill()
    process.communicate()
    began = time.monotonic()
    sweep(ONE, "--weights", *CHECKPOINTS, "-o", directory, *FULL, timeout=100)
    assert time.monotonic() - began < 60
    assert set(statuses(directory).values()) == {"done"}


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_sweep_cleanly(tmp_path, many, undisturbed, number, code):
    directory = tmp_path / "sweep"
    process = start(ONE, "--weights", *many, "-o", directory, *FULL)
    wait_for(lambda: (directory / "step0.json").exists())
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    found = statuses(directory)
    assert found["step0"] == "done" and "pending" in found.values() and len(found) == 24
    assert {name for name, status in found.items() if status == "done"} == set(reports(directory))
    assert leftovers(directory) == [] and not any((directory / ".sinkscope" / "claims").iterdir())
    sweep(ONE, "--weights", *many, "-o", directory, *FULL)
    same_sweep(directory, undisturbed[0])


def test_checkpoints_that_vanish_or_change_during_the_run(tmp_path, many):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    copies = [shutil.copy(path, folder) for path in many]
    directory = tmp_path / "sweep"
    process = start(ONE, "--weights", *copies, "-o", directory, *FULL)
    wait_for(lambda: (directory / "step0.json").exists())
    os.unlink(copies[-1])
    changed = load_file(many[0])
    save_file({name: tensor * 2 for name, tensor in changed.items()}, copies[-2])
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 6, errors
    last, other = (os.path.basename(copies[i]).removesuffix(".safetensors") for i in (-1, -2))
    found = rows(directory)
    assert found[last]["status"] == "failed" and "No such file" in found[last]["message"]
    assert found[other]["status"] == "done"  # what it was when it was read
    assert sum(row["status"] == "done" for row in found.values()) == 23


def test_a_full_disk_ends_the_sweep_and_spares_what_is_finished(tmp_path, many):
    directory = tmp_path / "sweep"
    sweep(ONE, "--weights", *many[:3], "-o", directory, *FAST)
    before = {path: path.read_bytes() for path in directory.glob("step*.json")}

    def limited():  # files may not grow beyond what a report needs
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    command = [str(BINARY), "sweep", str(ONE), "--weights", *map(str, many[:6]), "-o", str(directory), *map(str, FAST)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), preexec_fn=limited, timeout=120)
    assert done.returncode == 2 and done.stderr.count("sinkscope: error:") == 1 and "cannot be written" in done.stderr
    assert before == {path: path.read_bytes() for path in directory.glob("step*.json")}
    assert leftovers(directory) == []
    sweep(ONE, "--weights", *many[:6], "-o", directory, *FAST)
    assert set(statuses(directory).values()) == {"done"}


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    done = sweep(ONE, "--weights", *CHECKPOINTS, "-o", tmp_path / "file", *FAST, code=2)
    assert "is a file" in done.stderr and done.stderr.count("sinkscope: error:") == 1


def test_a_sweep_writes_nothing_outside_its_directory(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    demo = {path: path.stat().st_mtime_ns for path in DEMO.rglob("*")}
    command = [str(BINARY), "sweep", str(ONE), "--weights", *map(str, CHECKPOINTS[:2]), "-o", "../out", *map(str, FAST)]
    subprocess.run(command, cwd=work, env=environment(), check=True, capture_output=True, timeout=60)
    assert list(work.iterdir()) == [] and sorted(path.name for path in tmp_path.iterdir()) == ["out", "work"]
    assert demo == {path: path.stat().st_mtime_ns for path in DEMO.rglob("*")}
