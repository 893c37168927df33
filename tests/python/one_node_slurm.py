"""A Slurm of one node: munged, slurmctld and slurmd of Debian's packages, under a configuration of their own in one folder."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")

CONFIGURATION = """\
ClusterName=sinkscope
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why it cannot run here; empty where it can."""
    absent = [program for program in PROGRAMS if not shutil.which(program, path=path())]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "only root may start a slurmd"


def path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Slurm:
    """Commands run with `run`; everything ends with the context."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SINKSCOPE_"))},
            "PATH": path(), "SLURM_CONF": str(folder / "slurm.conf"), "OMP_WAIT_POLICY": "passive",
        }

    def run(self, *command, check: bool = True) -> str:
        done = subprocess.run(
            [str(part) for part in command], env=self.environment, capture_output=True, text=True, timeout=60, cwd=self.folder)
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}{self.logs()}"
        return done.stdout.strip()

    def logs(self) -> str:
        return "".join(f"\n== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))

    def jobs(self) -> dict[str, str]:
        """State by task, `7_1`; what has ended is gone."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_for(self, condition, seconds: float = 120):
        until = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < until, f"{self.jobs()}{self.logs()}"
            time.sleep(0.05)
        return found


@contextlib.contextmanager
def one_node_slurm():
    host = socket.gethostname().split(".")[0]
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:  # short: the path of a socket has 107 characters
        folder = Path(name)
        slurm = Slurm(folder)
        for part in ("state", "spool"):
            (folder / part).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        cpus = os.cpu_count()
        (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, ports=free_ports(2), folder=folder, cpus=cpus))
        try:
            slurm.run("munged", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", "--num-threads=2",
                      f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed")
            slurm.run("slurmctld", "-c")
            slurm.run("slurmd")
            slurm.wait_for(lambda: "idle" in slurm.run("sinfo", "--noheader", "--format=%t", check=False), 30)
            yield slurm
        finally:
            slurm.run("scancel", "--user=root", check=False)
            for daemon in ("slurmd", "slurmctld", "munged"):
                stop(folder / f"{daemon}.pid")


def stop(pid_file: Path) -> None:
    """Ends the daemon whose number is in the file and waits until it has gone."""
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        process = int(pid_file.read_text())
        os.kill(process, signal.SIGTERM)
        for _ in range(100):
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.1)
        os.kill(process, signal.SIGKILL)
