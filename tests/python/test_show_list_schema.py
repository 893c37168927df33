"""`show`, `list` and `schema` of the real program, on the golden report."""

import csv
import io
import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SINKSCOPE_BINARY", str(REPOSITORY / "build" / "sinkscope"))
GOLDEN = REPOSITORY / "tests" / "report" / "golden" / "report.json"


def sinkscope(*arguments, text: str | None = None, **environment) -> subprocess.CompletedProcess:
    variables = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CLICOLOR_FORCE", "COLUMNS")}
    return subprocess.run(
        [BINARY, *map(str, arguments)], input=text, capture_output=True, text=True, env=variables | environment, timeout=60
    )


def result(*arguments, **keywords) -> str:
    done = sinkscope(*arguments, **keywords)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def error(*arguments, code: int) -> str:
    done = sinkscope(*arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads(result("schema"))


def test_the_schema_is_the_file_of_the_repository(schema):
    assert schema == json.loads((REPOSITORY / "configs" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_golden_report_fits_the_schema(schema):
    jsonschema.Draft202012Validator(schema).validate(json.loads(GOLDEN.read_text()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.pop("input"),
        lambda r: r.update(extra=1),
        lambda r: r["model"].update(extra=1),
        lambda r: r["sites"][0].update(kind="sideways"),
        lambda r: r["metrics"]["sink_rate"].update(value="high"),
        lambda r: r["metrics"]["sink_rate"].pop("uniform"),
        lambda r: r["metrics"]["sink_rate"]["series"]["by_epsilon"].update(extra=1),
        lambda r: r["model"].update(sha256="abc"),
        lambda r: r.update(created="yesterday"),
    ],
)
def test_the_schema_refuses_a_report_that_is_wrong(schema, damage):
    report = json.loads(GOLDEN.read_text())
    damage(report)
    assert not jsonschema.Draft202012Validator(schema).is_valid(report)


def test_a_metric_of_the_user_needs_no_new_schema(schema):
    report = json.loads(GOLDEN.read_text())
    metric = dict(report["metrics"]["sink_rate"], parameters={"mine": [1.5]}, events=[{"position": 3, "why": "x"}])
    report["metrics"]["my_own_metric"] = metric
    jsonschema.Draft202012Validator(schema).validate(report)


def test_a_series_has_the_form_that_xarray_loads():
    """DataArray.from_dict wants dims, data and coords of {dims, data}; the shape must be that of the dims."""

    def shape(data):
        return [len(data), *shape(data[0])] if isinstance(data, list) else []

    report = json.loads(GOLDEN.read_text())
    seen = 0
    for metric in report["metrics"].values():
        for series in metric.get("series", {}).values():
            seen += 1
            assert len(shape(series["data"])) == len(series["dims"])
            assert "unit" in series["attrs"]
            for name, coordinate in series.get("coords", {}).items():
                assert coordinate["dims"] == [name]
                assert len(coordinate["data"]) == shape(series["data"])[series["dims"].index(name)]
    assert seen == 4


def test_show_prints_the_headlines_what_ran_the_heads_and_the_warnings():
    text = result("show", GOLDEN, COLUMNS="120")
    assert text == (GOLDEN.parent / "table.txt").read_text()
    assert text.index("first_token_mass") < text.index("T = 64") < text.index("L1H1 .84") < text.index("unmatched_softmax")


def test_show_reads_stdin_and_gives_the_report_back():
    report = GOLDEN.read_text()
    assert result("show", "-", "--json", text=report) == report


def test_show_limits_the_heads():
    assert "L1H0" not in result("show", GOLDEN, "--heads", "1")
    assert "strongest heads" not in result("show", GOLDEN, "--heads", "0")


def test_the_number_of_heads_is_optional_before_a_report():
    assert "L0H0" in result("show", "--heads", GOLDEN)
    assert "L0H0" in result("show", GOLDEN, "--heads")


def test_show_ranks_heads_by_a_series():
    assert "first_token_mass.last_query" in result("show", GOLDEN, "--sort", "first_token_mass.last_query")


def test_show_restricts_to_a_metric_and_lists_its_series():
    text = result("show", GOLDEN, "--metric", "massive_activation", "--heads", "0")
    assert "massive_activation.locations" in text
    assert "sink_rate" not in text


def test_the_csv_has_the_documented_columns_and_empty_cells_for_null():
    rows = list(csv.DictReader(io.StringIO(result("show", GOLDEN, "--csv"))))
    columns = "checkpoint,step,training_tokens,metric,series,layer,site,path,head,kv_head,stream,position,coord,value,uniform,unit,count"
    assert list(rows[0]) == columns.split(",")
    headline = next(row for row in rows if row["metric"] == "massive_activation" and not row["series"])
    assert headline["value"] == ""
    head = next(row for row in rows if row["series"] == "per_head" and row["layer"] == "1" and row["head"] == "1")
    assert float(head["value"]) == 0.84
    location = next(row for row in rows if row["series"] == "locations")
    assert (location["stream"], location["position"], location["coord"]) == ("1", "0", "dimension=447")


def test_show_writes_markdown_and_methods():
    assert result("show", GOLDEN, "--markdown") == (GOLDEN.parent / "report.md").read_text()
    methods = result("show", GOLDEN, "--methods")
    for part in ("comparator = >", "T = 64", "N = 2", "id 1 (BOS)", "float32", "a" * 64, "sinkscope 0.1.0"):
        assert part in " ".join(methods.split())


def test_a_folder_of_reports_is_one_line_each(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(GOLDEN.read_text())
    lines = result("show", tmp_path, COLUMNS="100").splitlines()
    assert [line.split()[0] for line in lines] == ["report", "one", "two"]
    assert len(json.loads(result("show", tmp_path, "--json"))) == 2


def test_output_goes_to_a_file_whole_or_not_at_all(tmp_path):
    assert result("show", GOLDEN, "--csv", "-o", tmp_path / "r.csv") == ""
    assert (tmp_path / "r.csv").read_text() == (GOLDEN.parent / "report.csv").read_text()
    assert "does not exist" in error("show", GOLDEN, "-o", tmp_path / "none" / "r.txt", code=2)
    assert "directory" in error("show", GOLDEN, "-o", tmp_path, code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_what_cannot_be_shown_is_one_message_with_its_exit_code(tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("{]")
    assert "not JSON" in error("show", broken, code=3)
    broken.write_text("")
    assert "broken.json: is empty" in error("show", broken, code=3)
    broken.write_text(GOLDEN.read_text()[:1000])
    assert "broken.json: ends at byte 1000" in error("show", broken, code=3)
    broken.write_text('{"kind": "sweep", "schema_version": "1.0"}')
    assert "kind sweep" in error("show", broken, code=3)
    broken.write_text(GOLDEN.read_text().replace('"schema_version": "1.0"', '"schema_version": "2.0"'))
    assert "reads 1.x" in error("show", broken, code=3)
    assert "none.json" in error("show", tmp_path / "none.json", code=3)
    assert "did you mean 'sink_rate'" in error("show", GOLDEN, "--metric", "sinkrate", code=2)
    assert "exclude each other" in error("show", GOLDEN, "--csv", "--methods", code=2)
    assert "no REPORT" in error("show", code=2)
    for count, expected in (("-1", "at least 0"), ("1.5", "a whole number"), ("99999999999999999999", "a whole number")):
        assert f"--heads: expects {expected}, not" in error("show", GOLDEN, "--heads", count, code=2)


def test_colour_comes_only_on_request_when_stdout_is_no_terminal():
    assert "\x1b[" not in result("show", GOLDEN)
    assert "\x1b[" in result("show", GOLDEN, CLICOLOR_FORCE="1")
    assert "\x1b[" not in result("show", GOLDEN, "--no-color", CLICOLOR_FORCE="1")


def test_a_closed_pipe_ends_quietly():
    done = subprocess.run(f"'{BINARY}' show '{GOLDEN}' --csv | head -n 1", shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("checkpoint,")
    assert done.stderr == ""


def test_a_full_disk_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "list"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert "No space left" in done.stderr


def test_list_has_the_same_metrics_in_every_form():
    metrics = json.loads(result("list", "--format", "json"))
    names = [metric["name"] for metric in metrics]
    assert {"loss", "first_token_mass", "sink_rate", "dormant_head"} <= set(names)
    assert names == sorted(names)
    text, markdown = result("list"), result("list", "--format", "markdown")
    for metric in metrics:
        assert metric["name"] in text
        assert f"| `{metric['name']}` | {metric['unit']} |" in markdown
        for field in ("unit", "definition", "cost", "source"):
            assert metric[field], f"{metric['name']} has no {field}"
        assert metric["default_tolerance"], f"{metric['name']} has no default tolerance"
    assert json.loads(result("list", "--json")) == metrics


def test_list_refuses_another_format():
    assert "text, markdown or json" in error("list", "--format", "yaml", code=2)


@pytest.mark.parametrize("command", ["show", "list", "schema"])
def test_help_has_examples(command):
    assert f"sinkscope {command}" in result(command, "--help").split("Examples:")[1]
