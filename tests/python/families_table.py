"""Collects what test_measure_families.py finds, and puts it into docs/families.md as a table."""

import os
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- families -->", "<!-- end -->"


@dataclass
class Row:
    sites: str = ""
    idioms: set[str] = field(default_factory=set)
    measured_by: set[str] = field(default_factory=set)
    error: float = 0.0


rows: dict[tuple[str, str, str], Row] = {}  # (family, attention, stored or graph)


def _row(family, form) -> Row:
    return rows.setdefault((family, form.attention, "graph" if form.graph_only else "stored"), Row())


def record(family, form, sites) -> None:
    """The sites of a report."""
    row, kinds = _row(family, form), [s["kind"] for s in sites]
    row.sites = str(len(sites)) + (f" ({kinds.count('cross')} cross)" if "cross" in kinds else "")
    row.idioms |= {s["pattern"] for s in sites}
    row.measured_by |= {s["measured_by"] for s in sites}


def error(family, form, value) -> None:
    """The largest difference of one comparison."""
    row = _row(family, form)
    row.error = max(row.error, float(value))


def table() -> str:
    """One line a family and exported attention, stored and graph-only files together."""
    lines = ["| family | exported as | sites | idiom | measured | largest error, stored | graph-only |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for family, attention in dict.fromkeys((family, attention) for family, attention, _ in rows):
        forms = [rows.get((family, attention, kind)) for kind in ("stored", "graph")]
        row = next(form for form in forms if form)
        errors = ["-" if form is None else f"{form.error:.1e}" for form in forms]
        cells = [family, attention, row.sites, ", ".join(sorted(row.idioms)), ", ".join(sorted(row.measured_by)), *errors]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(path: Path) -> None:
    """Replaces the table in a document."""
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")


def write_if_asked() -> None:
    if rows and (path := os.environ.get("SINKSCOPE_FAMILIES_TABLE")):
        write(Path(path))
