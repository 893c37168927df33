"""README.md, CHANGELOG.md and docs/ against the program, its --help and the files of the repository."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import update_docs

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SINKSCOPE_BINARY", ROOT / "build" / "sinkscope"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")

needs_program = pytest.mark.skipif(not BINARY.exists(), reason=f"{BINARY} is not built")
needs_torch_half = pytest.mark.skipif(
    not (BINARY.parent / "sinkscope_torch.so").exists(), reason=f"{BINARY.parent / 'sinkscope_torch.so'} is not built"
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def sinkscope(*arguments) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SINKSCOPE_")}
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=True, timeout=60, env=kept).stdout


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """Flags by command, and by script."""
    help_text = sinkscope("--help")
    commands = re.findall(r"^  (\w+) {2,}\w", help_text.split("Options:")[0], re.MULTILINE)
    found = {command: set(FLAG.findall(sinkscope(command, "--help"))) for command in commands}
    found["sinkscope"] = set(FLAG.findall(help_text))
    for script in (ROOT / "scripts").glob("*.py"):
        found[script.name] = set(re.findall(r'"(--[a-z-]+)"', text_of(script))) | {"--help"}
    for script in (ROOT / "scripts").glob("*.sh"):
        found[script.name] = set(FLAG.findall(text_of(script)))
    found["export_hf.py"] |= found["tokenize_hf.py"] - {"--help"}  # add_text_arguments
    return found


@needs_program
def test_the_metric_table_of_the_readme_is_that_of_the_program():
    assert sinkscope("list", "--format", "markdown") in text_of(ROOT / "README.md")


NUMBER = re.compile(r"(\d*\.\d+(?:e-?\d+)?)")


def same_but_for_rounding(found: str, written: str) -> bool:
    """Other instruction sets round differently: a decimal number may differ by one in its last digit, or by 1e-5."""
    ours, theirs = NUMBER.split(found), NUMBER.split(written)
    if ours[::2] != theirs[::2]:
        return False
    decimals = [len(x.partition("e")[0].partition(".")[2]) for x in theirs[1::2]]
    return all(abs(float(a) - float(b)) <= max(1.01 * 10.0**-d, 1e-5 * abs(float(b)))
               for a, b, d in zip(ours[1::2], theirs[1::2], decimals, strict=True))


def test_outputs_that_differ_by_more_than_rounding_are_told_apart():
    assert same_but_for_rounding("mass .144 of 0.41044145417", "mass .143 of 0.41044149811")
    assert not same_but_for_rounding("mass .145", "mass .143")
    assert not same_but_for_rounding("mass .143 ", "Mass .143 ")
    assert not same_but_for_rounding("0.4105", "0.41044149811")


@needs_program
@needs_torch_half
@pytest.mark.parametrize("page", update_docs.pages(), ids=lambda page: page.name)
def test_real_output_is_up_to_date(page):
    old = text_of(page)
    new = update_docs.renewed(old, BINARY)
    assert len(new.splitlines()) == len(old.splitlines()), "run scripts/update_docs.py"
    for found, written in zip(new.splitlines(), old.splitlines(), strict=True):
        assert same_but_for_rounding(found, written), f"run scripts/update_docs.py\n{written}\n{found}"


def heading_anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page):
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if re.match(r"[a-z]+://", target):
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), target
        assert not anchor or anchor in heading_anchors(text_of(linked)), target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_named_in_code_exists(page):
    for name in re.findall(r"`((?:scripts|configs|lib|apps|metrics|tests)/[\w./]+\.(?:py|sh|json|pt|toml|h|cpp))", text_of(page)):
        assert "NAME" in name or (ROOT / name).exists(), name


def command_lines(text: str) -> list[str]:
    """Lines of code blocks and inline code; of real output only the command."""
    text = update_docs.BLOCK.sub(lambda block: f"```sh\n{block['command']}\n```\n", text)
    fences = re.findall(r"^```(?:sh|text)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for fence in fences for line in fence.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    return [line.split(" #")[0] for line in lines]


@needs_program
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_flag_mentioned_exists(page, flags):
    known = set().union(*flags.values())
    for line in command_lines(text_of(page)):
        if re.match(r"(cmake|ctest|python3|apt-get|torchrun|-D)", line):
            continue
        for part in re.split(r"[;|]|&&", line):
            called = re.search(r"\bsinkscope (\w+)\b|scripts/(\w+\.py)|^ *(\w+\.py)", part)
            name = next((group for group in called.groups() if group), None) if called else None
            allowed = flags.get(name, known) | {"--version"}
            assert set(FLAG.findall(part)) <= allowed, part


@needs_program
def test_every_metric_and_parameter_is_described():
    page = text_of(ROOT / "docs" / "metrics.md")
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    metrics = json.loads(sinkscope("list", "--json"))
    assert sorted(sections) == [metric["name"] for metric in metrics]
    for metric in metrics:
        for parameter in metric["parameters"]:
            assert f"`{parameter['name']}`" in sections[metric["name"]], (metric["name"], parameter["name"])


def test_exit_codes_are_those_of_the_program():
    header = text_of(ROOT / "lib" / "base" / "error.h")
    known = set(re.findall(r"= (\d+)", header[: header.index("};")]))
    for page in (ROOT / "README.md", ROOT / "docs" / "cli.md"):
        section = re.search(r"^## Exit codes\n(.*?)(?=^## |\Z)", text_of(page), re.DOTALL | re.MULTILINE)[1]
        listed = set(re.findall(r"\d+", " ".join(re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE))))
        assert {"0", "1", "2", "3", "4", "5", "6", "70", "130", "143"} == listed <= known


def test_every_warning_is_described():
    sources = "".join(text_of(path) for path in (ROOT / "lib").rglob("*.cpp"))
    codes = set(re.findall(r'(?:warnings\.push_back\(\s*\{|\bwarn\(|\badd\(\{\{)"([a-z0-9_]+)"', sources))
    assert len(codes) > 10
    listed = set(re.findall(r"^\| `([a-z0-9_]+)` \|", text_of(ROOT / "docs" / "cli.md"), re.MULTILINE))
    assert codes <= listed


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_page_holds_a_path_of_somebodys_machine(page):
    assert not re.search(r"(?<![\w.])/(work|home|root|tmp|mnt|Users)/", text_of(page))


def test_outputs_that_differ_in_times_and_last_digits_are_the_same():
    same = update_docs.same
    assert same('"created": "2026-01-31T12:00:00Z", "seconds": 1.25', '"created": "2027-02-01T00:00:00Z", "seconds": 33')
    assert same("value .281 [.277, .285]", "value .282 [.277, .286]")
    assert not same("value .281", "value .291")
    assert not same("64 sequences", "65 sequences")
    assert not same("layer 1", "layer 1 and more")
