"""Sweeps with the built program, and what they leave behind."""

import json
import subprocess
from pathlib import Path

from measuring import BINARY, checked, environment, heed_interrupts, sinkscope
from support import DEMO

ONE = DEMO / "backcopy_1layer.pt"
STEPS = [*range(0, 1601, 200)]
CHECKPOINTS = [DEMO / "backcopy_1layer" / f"step{step}.safetensors" for step in STEPS]
FAST = ("--metric", "first_token_mass", "--limit", 2, "--threads", 1)
ROW = {"name", "step", "training_tokens", "report", "sha256", "duplicate_of", "status", "message"}


def sweep(*arguments, **options) -> subprocess.CompletedProcess:
    return sinkscope("sweep", *arguments, **options)


def start(*arguments, **options) -> subprocess.Popen:
    """The same in the background."""
    command = [str(BINARY), "sweep", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()} | options
    return subprocess.Popen(command, preexec_fn=heed_interrupts, **options)


def index(directory: Path) -> dict:
    document = json.loads((directory / "sweep.json").read_text())
    assert set(document) == {"schema_version", "kind", "model", "checkpoints"} and document["kind"] == "sweep"
    assert all(set(row) == ROW for row in document["checkpoints"])
    return document


def rows(directory: Path) -> dict[str, dict]:
    return {row["name"]: row for row in index(directory)["checkpoints"]}


def statuses(directory: Path) -> dict[str, str]:
    return {name: row["status"] for name, row in rows(directory).items()}


def reports(directory: Path) -> dict[str, dict]:
    """Every report of the directory, each valid under the schema, by its path without .json."""
    files = [path for path in sorted(directory.rglob("*.json")) if path != directory / "sweep.json"]
    return {str(path.relative_to(directory).with_suffix("")): checked(path.read_text()) for path in files}


def lasting(report: dict, *also: str) -> dict:
    """A report without what differs from run to run."""
    return {key: value for key, value in report.items() if key not in ("created", "run", "argv", *also)}


def same_sweep(one: Path, other: Path) -> None:
    assert index(one) == index(other)
    assert {n: lasting(r) for n, r in reports(one).items()} == {n: lasting(r) for n, r in reports(other).items()}
