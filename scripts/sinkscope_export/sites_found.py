"""Which attention sites `sinkscope` itself finds in a file: its eyes are other than those of the count in count_attention.py."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .self_check import Mismatch

BUILT = Path(__file__).resolve().parents[2] / "build" / "sinkscope"
REFUSED = 3  # its exit code for a file that it cannot measure


def program() -> Path | None:
    """SINKSCOPE_BINARY where that is set, else the one built here, else the one on the PATH."""
    named = os.environ.get("SINKSCOPE_BINARY") or (BUILT if BUILT.is_file() else shutil.which("sinkscope"))
    return Path(named).absolute() if named and os.access(named, os.X_OK) else None


def check_sites(path: Path, counted: int) -> None:
    """Raises Mismatch unless `sinkscope inspect` finds `counted` sites; a note says where it could not be asked."""
    binary = program()
    if binary is None:
        print("note: whether sinkscope finds every attention site was not checked: no program in build/, SINKSCOPE_BINARY or "
              "PATH", file=sys.stderr)
        return
    # Its own settings, from wherever they come, are about other files.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SINKSCOPE_")}
    done = subprocess.run([binary, "inspect", path, "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=environment)
    said = (" ".join(done.stderr.split()) or f"exit code {done.returncode}").removeprefix("sinkscope: error: ")
    if done.returncode == REFUSED:
        raise Mismatch(f"sinkscope cannot measure the file: {said}")
    if done.returncode != 0:
        print(f"note: whether sinkscope finds every attention site was not checked: {said}", file=sys.stderr)
        return
    found = json.loads(done.stdout)
    sites, unmatched = found["sites"], found["unmatched"]
    if len(sites) != counted:
        left_alone = "; ".join(f"{one['op']} in {one['path']} ({one['reason']})" for one in unmatched)
        raise Mismatch(f"sinkscope finds {len(sites)} attention sites, one run of the model has {counted}. Found: "
                       f"{', '.join(site['path'] for site in sites)}. Left alone: {left_alone or 'nothing'}")
