"""scripts/slurm_sweep.sh on a real Slurm of one node: an array of 4 over 12 checkpoints, one task requeued while it runs."""

import pytest
from measuring import BINARY, MEASURES
from one_node_slurm import one_node_slurm, why_not
from safetensors.numpy import load_file, save_file
from support import SCRIPTS
from sweeping import CHECKPOINTS, ONE, same_sweep, statuses, sweep

pytestmark = [
    pytest.mark.skipif(not MEASURES, reason="the program is not built"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twelve")
    tensors = load_file(CHECKPOINTS[3])
    name = next(iter(tensors))
    for step in range(12):
        save_file(tensors | {name: tensors[name] + step / 100}, folder / f"step{step}.safetensors")
    return sorted(folder.glob("*.safetensors"))


@pytest.fixture(scope="module")
def slurm():
    with one_node_slurm() as running:
        yield running


def test_an_array_with_a_requeued_task_equals_one_process(tmp_path, twelve, slurm):
    flags = ("--weights", *twelve, "--threads", 1)
    sweep(ONE, *flags, "-o", tmp_path / "whole")
    directory = tmp_path / "array"
    said = slurm.run(SCRIPTS / "slurm_sweep.sh", "--tasks", 4, "--gpus", 0, "--cpus", 1, "--memory", "200M", "--time", 10,
                     "--program", BINARY, "--", ONE, *flags, "-o", directory)
    array = said.split()[1]

    def running():
        return next((task for task, state in slurm.jobs().items() if state == "RUNNING" and "_" in task), None)

    task = slurm.wait_for(running)
    slurm.run("scontrol", "requeue", task)
    slurm.wait_for(lambda: slurm.jobs().get(task) == "PENDING")
    # A requeued task else waits two minutes; in the second in which it was ended slurmd may refuse it as the same job.
    slurm.run("scontrol", "update", f"JobId={task}", "StartTime=now+3")
    slurm.wait_for(lambda: not slurm.jobs(), 300)
    logs = {log.name: log.read_text() for log in (directory / "slurm-logs").iterdir()}
    assert task.startswith(array) and set(logs) == {"merge.log", *(f"task-{i}.log" for i in range(4))}
    part = task.partition("_")[2]
    log = logs[f"task-{part}.log"]
    assert "REQUEUE" in log and f"shard {part}/4: 3 of 12" in log, f"{logs}{slurm.logs()}"
    assert "12 checkpoints: 12 done" in logs["merge.log"], f"{logs}{slurm.logs()}"
    assert set(statuses(directory).values()) == {"done"}
    same_sweep(directory, tmp_path / "whole")


def test_the_script_refuses_mistakes_before_anything_is_queued(tmp_path, slurm):
    for mistake in (("--weights", "none", "-o", tmp_path / "a"), ("--weights", *CHECKPOINTS), ("--shart",)):
        slurm.run(SCRIPTS / "slurm_sweep.sh", "--program", BINARY, "--", ONE, *mistake, check=False)
    assert slurm.jobs() == {} and list(tmp_path.iterdir()) == []
