"""Running the project's scripts: in this process, so that the seconds of importing torch are paid once, or in their own."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "scripts"
DEMO = REPOSITORY / "configs" / "demo"


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def run_script(name: str, *arguments) -> Result:
    """Runs scripts/NAME as __main__ in this process; the exit code is left to the test."""
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [str(SCRIPTS / name), *map(str, arguments)]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return Result(code, stdout.getvalue(), stderr.getvalue())


def run_script_apart(name: str, *arguments) -> Result:
    """Runs scripts/NAME in its own process, for scripts that change settings of the whole process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, SCRIPTS / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    return Result(done.returncode, done.stdout, done.stderr)
