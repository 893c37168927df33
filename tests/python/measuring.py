"""Running the built program; every report that passes through here is held against its own JSON Schema."""

import functools
import json
import os
import signal
import subprocess
from pathlib import Path

import jsonschema
from support import REPOSITORY

BINARY = Path(os.environ.get("SINKSCOPE_BINARY", REPOSITORY / "build" / "sinkscope"))
MEASURES = BINARY.exists() and BINARY.with_name("sinkscope_torch.so").exists()  # else nothing here can run


def environment(**more: str) -> dict[str, str]:
    """The caller's environment without settings of sinkscope; idle threads sleep, so that busy cores do not slow it 30-fold."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SINKSCOPE_")}
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
        kept.pop(name, None)
    return kept | {"OMP_WAIT_POLICY": "passive"} | more


def heed_interrupts() -> None:
    """For preexec_fn: a job that a shell put into the background would hand an ignored SIGINT on to the program."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def sinkscope(
    *arguments, code: int | None = 0, stdin: str = "", env: dict | None = None, timeout: float = 120
) -> subprocess.CompletedProcess:
    """Runs the program; another exit code than `code` (None: any) fails with its stderr."""
    command = [str(BINARY), *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, env=env or environment())
    assert code in (None, done.returncode), f"exit {done.returncode}: {done.stderr}"
    return done


@functools.cache
def validator() -> jsonschema.protocols.Validator:
    schema = json.loads(sinkscope("schema").stdout)
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def checked(text: str) -> dict:
    """The report in `text`, valid under the published schema."""
    report = json.loads(text)
    validator().validate(report)
    return report


def measure(model, *arguments, code: int = 0, **options) -> dict:
    """The report of `sinkscope measure MODEL ... --json`."""
    return checked(sinkscope("measure", model, *arguments, "--json", code=code, **options).stdout)


def refused(*arguments, code: int, **options) -> str:
    """The one message of a run that must fail: nothing on stdout, no trace of the program's insides."""
    done = sinkscope(*arguments, code=code, **options)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("sinkscope: error:")]
    assert len(lines) == 1, done.stderr
    for inside in ("Traceback", "frame #", "Exception raised from", "terminate called", "internal error", "0x0"):
        assert inside not in done.stderr, done.stderr
    return done.stderr


def warning(report: dict, code: str) -> str:
    """The message of the report's one warning with that code."""
    messages = [w["message"] for w in report["warnings"] if w["code"] == code]
    assert len(messages) == 1, report["warnings"]
    return messages[0]


def codes(report: dict) -> set[str]:
    return {w["code"] for w in report["warnings"]}


def write_tokens(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps([int(i) for i in row]) + "\n" for row in rows))
    return path
