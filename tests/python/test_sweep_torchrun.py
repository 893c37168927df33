"""Two torchrun ranks share a sweep: each takes its part, and the merged sweep equals that of one process."""

import subprocess
import sys
from pathlib import Path

import pytest
from measuring import BINARY, MEASURES, environment
from sweeping import CHECKPOINTS, FAST, ONE, same_sweep, sweep

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")
TORCHRUN = Path(sys.executable).with_name("torchrun")


@pytest.mark.skipif(not TORCHRUN.exists(), reason="no torchrun beside this Python")
def test_two_ranks_equal_one_process(tmp_path):
    sweep(ONE, "--weights", *CHECKPOINTS, "-o", tmp_path / "whole", *FAST)
    arguments = (ONE, "--weights", *CHECKPOINTS, "-o", tmp_path / "ranks", *FAST, "--shard", "torchrun")
    command = [TORCHRUN, "--standalone", "--nproc-per-node", "2", "--no-python", BINARY, "sweep", *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 0, done.stderr
    assert "shard 0/2: 4 of 9" in done.stderr and "shard 1/2: 5 of 9" in done.stderr
    sweep("--merge", tmp_path / "ranks")
    same_sweep(tmp_path / "ranks", tmp_path / "whole")


def test_an_array_task_or_rank_without_a_shard_gets_a_hint(tmp_path):
    for variables, hint in (({"SLURM_ARRAY_TASK_ID": "3"}, "--shard slurm"), ({"RANK": "0", "WORLD_SIZE": "2"}, "--shard torchrun")):
        done = sweep(ONE, "--weights", CHECKPOINTS[0], "-o", tmp_path / "out", *FAST, env=environment(**variables))
        assert "hint: this is" in done.stderr and hint in done.stderr and "shard 0/1: 1 of 1" in done.stderr


def test_a_slurm_task_finds_its_part_and_an_irregular_array_is_refused(tmp_path):
    array = {f"SLURM_ARRAY_TASK_{name}": value for name, value in
             {"ID": "14", "MIN": "10", "MAX": "16", "COUNT": "4", "STEP": "2"}.items()}
    flags = (ONE, "--weights", *CHECKPOINTS, "-o", tmp_path / "out", *FAST, "--shard", "slurm")
    assert "shard 2/4: 2 of 9" in sweep(*flags, env=environment(**array)).stderr
    irregular = environment(**array | {"SLURM_ARRAY_TASK_COUNT": "3"})
    assert "not regular" in sweep(*flags, env=irregular, code=2).stderr
