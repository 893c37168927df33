#!/usr/bin/env python3
"""Runs the commands that README.md and docs/*.md show and writes their real output into the pages.

    scripts/update_docs.py            # rewrites what is out of date
    scripts/update_docs.py --check    # writes nothing; prints what is out of date, exit code 1 if anything is

A block stands between two comments, the first of which says how it is made:

    <!-- output: COMMAND -->           what COMMAND prints (stdout and stderr), below the command itself
    <!-- output exit 3: COMMAND -->    the same for a command that fails with that exit code
    <!-- markdown: COMMAND -->         the output as it is, for tables
    <!-- excerpt: FILE KEY... -->      those members of a JSON file, KEY as a.b.c; long lists and many digits are cut
    <!-- end -->

The commands of one page run in order in an empty folder that holds only a link to configs/, so a later one may read what an
earlier one wrote. Times, memory, thread counts and the commit differ between runs and machines: they make no block out of date.
"""

import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH = "100"  # columns of the terminal that the pages show

BLOCK = re.compile(
    r"<!-- (?P<kind>output|markdown|excerpt)(?: exit (?P<code>\d+))?: (?P<command>.+?) -->\n(?P<body>.*?)<!-- end -->\n",
    re.DOTALL,
)
VOLATILE = [  # (pattern, what stands for it when two outputs are compared)
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r'("(?:seconds|tokens_per_second|peak_memory_bytes|threads)": )[-+.\deE]+'), r"\1<n>"),
    (re.compile(r"at least [.\d]+ s "), "at least <n> s "),
]
COMMIT = re.compile(r'(commit |"commit": "|sinkscope \d+\.\d+\.\d+ \()(?:[0-9a-f]{7,40}(?:-dirty)?|unknown)')
NUMBER = re.compile(r"(?<![\w.])-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?!\w)")
LIST_SHOWN = 4  # elements of a list in an excerpt; of a list of objects one


@dataclass(frozen=True)
class Program:
    """The built program and the folder that its commands run in."""

    binary: Path
    folder: Path

    def run(self, command: str, code: int) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SINKSCOPE_")}
        for name in ("CLICOLOR_FORCE", "COLUMNS"):
            kept.pop(name, None)
        path = f"{self.binary.resolve().parent}{os.pathsep}{kept.get('PATH', '')}"
        # The pages show a machine without a GPU, whatever the machine that makes them has.
        kept |= {"PATH": path, "COLUMNS": WIDTH, "NO_COLOR": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=self.folder, env=kept, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        )
        if done.returncode != code:
            raise RuntimeError(f"`{command}` ended with {done.returncode} instead of {code}:\n{done.stdout}")
        return COMMIT.sub(r"\1<commit>", done.stdout)


def shortened(value):
    """Six digits, and of long lists the beginning: an excerpt shows the shape of a report."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: shortened(member) for key, member in value.items()}
    if isinstance(value, list):
        count = 1 if value and isinstance(value[0], dict) else LIST_SHOWN
        shown = [shortened(member) for member in value[:count]]
        return shown + ([f"... {len(value) - count} more"] if len(value) > count else [])
    return value


def layout(value, indent: int = 0) -> str:
    """JSON with one member a line, and lists of plain values on one line."""
    pad = " " * (indent + 2)
    nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value))
    if not value or not nested:
        return json.dumps(value, ensure_ascii=False)
    one_line = json.dumps(value, ensure_ascii=False)
    if indent > 0 and len(one_line) + indent < 100:
        return one_line
    if isinstance(value, dict):
        members = [f"{pad}{json.dumps(key)}: {layout(member, indent + 2)}" for key, member in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{pad[2:]}}}"
    return "[\n" + ",\n".join(pad + layout(member, indent + 2) for member in value) + f"\n{pad[2:]}]"


def excerpt(folder: Path, arguments: str) -> str:
    file, *keys = arguments.split()
    document = json.loads((folder / file).read_text(encoding="utf-8"))
    shown: dict = {}
    for key in keys:
        value, into = document, shown
        *parents, last = key.split(".")
        for parent in parents:
            value, into = value[parent], into.setdefault(parent, {})
        into[last] = shortened(value[last])
    text = re.sub(r'"(\.\.\. \d+ more)"', r"\1", layout(shown))  # no text, but a mark
    return COMMIT.sub(r"\1<commit>", text) + "\n"


def body_of(program: Program, block: re.Match) -> str:
    kind, command, code = block["kind"], block["command"], int(block["code"] or 0)
    if kind == "excerpt":
        return f"```jsonc\n{excerpt(program.folder, command)}```\n"
    text = program.run(command, code)
    if kind == "markdown":
        return text
    lines = [line.rstrip() for line in f"$ {command}\n{text}".rstrip("\n").split("\n")]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def unit(number: str) -> float:
    """One in the last digit that is written."""
    mantissa, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def same(old: str, new: str) -> bool:
    """Equal but for what differs between runs, and for rounding: processors differ in the last digit."""
    for pattern, stand_in in VOLATILE:
        old, new = pattern.sub(stand_in, old), pattern.sub(stand_in, new)
    numbers, others = NUMBER.findall(old), NUMBER.findall(new)
    if len(numbers) != len(others) or NUMBER.sub("#", old).split() != NUMBER.sub("#", new).split():
        return False
    for a, b in zip(numbers, others, strict=True):
        whole = "." not in a + b and "e" not in a + b
        if a != b and (whole or abs(float(a) - float(b)) > 1.5 * max(unit(a), unit(b))):
            return False
    return True


def renewed(text: str, binary: Path) -> str:
    """The page with the blocks that are out of date made again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "configs").symlink_to(ROOT / "configs")
        program = Program(binary, folder)

        def renew(block: re.Match) -> str:
            body = body_of(program, block)
            if same(block["body"], body):
                return block[0]
            return block[0].replace(block["body"] + "<!-- end -->", body + "<!-- end -->")

        return BLOCK.sub(renew, text)


def pages() -> list[Path]:
    """The pages that have blocks."""
    candidates = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in candidates if BLOCK.search(page.read_text(encoding="utf-8"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is out of date")
    parser.add_argument("--binary", type=Path, default=Path(os.environ.get("SINKSCOPE_BINARY", ROOT / "build" / "sinkscope")),
                        metavar="FILE", help="the program (build/sinkscope)")
    arguments = parser.parse_args()
    if not arguments.binary.exists():
        print(f"update_docs.py: error: {arguments.binary} is not there; build it with scripts/setup.sh", file=sys.stderr)
        return 3
    stale = 0
    for page in pages():
        old = page.read_text(encoding="utf-8")
        try:
            new = renewed(old, arguments.binary)
        except RuntimeError as error:
            print(f"update_docs.py: error: {page.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 3
        if new == old:
            continue
        stale += 1
        name = str(page.relative_to(ROOT))
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, name + " now", n=1))
        if not arguments.check:
            page.write_text(new, encoding="utf-8")
    print(f"{len(pages())} pages, {stale} {'out of date' if arguments.check else 'rewritten'}", file=sys.stderr)
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
