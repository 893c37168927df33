"""Files written aside and renamed, hashes, and the one kind of error that the scripts show to people."""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

MODEL_FILES = (".json", ".safetensors", ".model", ".txt")  # what a Hugging Face folder is made of
USAGE = 2  # exit code: the command line asks for something that makes no sense
UNREADABLE = 3  # exit code: a file is missing, damaged, or holds something unsupported


class ScriptError(Exception):
    """A message for people (what, where, what to do) and the exit code that goes with it."""

    def __init__(self, message: str, code: int = UNREADABLE):
        super().__init__(message)
        self.code = code


def usage_error(message: str) -> ScriptError:
    return ScriptError(message, USAGE)


def run_main(main: Callable[[], None]) -> None:
    """Runs a script: one error is one message on stderr and the documented exit code."""
    name = Path(sys.argv[0]).name
    try:
        main()
    except ScriptError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(error.code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(UNREADABLE)
    except KeyboardInterrupt:
        sys.exit(130)


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a path to write to; on success it becomes `path` in one step, on failure nothing is left behind.

    The temporary file has the final name inside a temporary folder, because TorchScript archives contain their name.
    """
    if path.is_dir():
        raise usage_error(f"{path} is a directory; name a file")
    if not path.parent.is_dir():
        raise usage_error(f"{path}: the folder {path.parent} does not exist")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        aside = Path(folder) / path.name
        yield aside
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)  # some writers make their files private
        os.replace(aside, path)


def refuse_overwriting(output: Path, inputs: list[Path | None]) -> None:
    """A usage error if `output` is one of the files that are read, or belongs to a model folder that is read."""
    for path in inputs:
        if path is None or not path.exists() or not output.is_file():
            continue
        in_folder = path.is_dir() and output.suffix in MODEL_FILES and output.parent.samefile(path)
        if in_folder or output.samefile(path):
            raise usage_error(f"{output}: would overwrite an input; name another file")


def write_text(path: Path, text: str) -> None:
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends untouched (a corpus is hashed and cut by its bytes)."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScriptError(f"{path}: not UTF-8 text (byte {error.start})") from None


def read_json(path: Path) -> dict:
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ScriptError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ScriptError(f"{path}: holds no JSON object")
    return value


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
