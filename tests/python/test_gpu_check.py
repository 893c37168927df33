"""scripts/gpu_check.sh and what it runs, with programs in the place of a GPU, a compiler and a Python that has only torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_models import write_model
from measuring import BINARY, MEASURES, environment
from support import DEMO, REPOSITORY

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")

# Measures on the CPU and says that it was a GPU; `wrong` adds to every value of a metric there.
STAND_IN = """
import json, subprocess, sys
arguments, gpu = sys.argv[1:], "cuda" in sys.argv
if arguments[0] == "bench":
    print("bench of", arguments[1])
    sys.exit(0)
done = subprocess.run([BINARY, *["cpu" if part == "cuda" else part for part in arguments]], capture_output=True, text=True)
report = json.loads(done.stdout)
if gpu:
    report["settings"]["device"] = "cuda:0"
    report["metrics"]["sink_rate"]["value"] += WRONG
print(json.dumps(report))
sys.exit(done.returncode)
"""
PYTHON = """
import os, sys
if any("import torch" in part for part in sys.argv):
    print("2.11.0")
else:
    os.execv(sys.executable, [sys.executable, "-S", *sys.argv[1:]])
"""


def program(path: Path, code: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable} -S\n{code}")
    path.chmod(0o755)
    return path


@pytest.fixture
def stand_in(tmp_path):
    """A function that makes a sinkscope whose GPU errs by so much."""
    return lambda wrong: program(tmp_path / "build" / "sinkscope",
                                 STAND_IN.replace("BINARY", repr(str(BINARY))).replace("WRONG", repr(wrong)))


@pytest.fixture
def check(tmp_path, stand_in):
    """Runs gpu_check.sh where everything but the models is a stand-in."""
    for name in ("nvidia-smi", "nvcc", "cmake"):
        program(tmp_path / "bin" / name, "")
    for name in ("sinkscope_gpu_tests", "kernel_bench_cuda", "sinkscope_cuda.so"):
        program(tmp_path / "build" / name, "")
    python = program(tmp_path / "bin" / "bare", PYTHON)

    def run(wrong=0.0, deps=None):
        stand_in(wrong)
        env = environment(PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin", PYTHON=str(python), ARCH="90", JOBS="1",
                          **({"DEPS": str(deps)} if deps else {}))
        command = ["bash", REPOSITORY / "scripts" / "gpu_check.sh", tmp_path / "build"]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)

    return run


@pytest.fixture
def deps(tmp_path):
    """The folder of gpu_deps.sh, with one model of each kind."""
    models = tmp_path / "deps" / "models"
    (models / "compare").mkdir(parents=True)
    write_model("llama", "fused", models / "compare" / "llama_fused.pt")
    shutil.copy(DEMO / "backcopy_1layer.pt", models / "bench.pt")
    return tmp_path / "deps"


def test_a_machine_without_a_gpu_is_skipped(tmp_path):
    env = environment(PATH=f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path / "nvidia-smi", "import sys; sys.exit(9)")
    done = subprocess.run(["bash", REPOSITORY / "scripts" / "gpu_check.sh"], capture_output=True, text=True, env=env)
    assert done.returncode == 77 and "skipped: no GPU" in done.stderr


def test_a_python_with_torch_alone_skips_pytest_and_compares_the_models_that_were_carried(check, deps):
    done = check(deps=deps)
    assert done.returncode == 0, done.stderr
    assert "skipped: tests/python/test_gpu.py: this Python lacks pytest" in done.stderr
    assert "backcopy_3layer.pt: as on the CPU" in done.stdout and "llama_fused.pt: as on the CPU" in done.stdout
    assert done.stdout.count(f"bench of {deps / 'models' / 'bench.pt'}") == 2
    assert "passed" in done.stdout


def test_a_number_that_differs_on_the_gpu_fails_the_check(check, deps):
    done = check(wrong=0.01, deps=deps)
    assert done.returncode == 1
    assert "llama_fused.pt: sink_rate" in done.stdout and "FAILED (1)" in done.stdout


def test_without_models_they_are_skipped_visibly(check):
    done = check()
    assert done.returncode == 0, done.stderr
    assert "skipped: whole models" in done.stderr and "skipped: bench" in done.stderr


def test_a_model_that_cannot_be_measured_is_named(tmp_path, stand_in):
    (tmp_path / "damaged.pt").write_text("no archive")
    command = [sys.executable, REPOSITORY / "scripts" / "gpu_compare.py", BINARY, tmp_path / "damaged.pt"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 1
    assert done.stdout.startswith("damaged.pt: cuda: exit ")


def test_the_models_that_are_carried_hold_their_input(tmp_path):
    model = write_model("t5", "eager", tmp_path / "m.pt")
    done = subprocess.run([BINARY, "measure", model, "--json"], capture_output=True, text=True, env=environment(), check=True)
    assert json.loads(done.stdout)["input"]["sequences"] == 3
