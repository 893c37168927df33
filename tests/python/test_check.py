"""`check` and `diff` of the real program: exit codes, every output format, bad baselines. The report is the golden one."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from lxml import etree
from measuring import BINARY, environment, refused, sinkscope
from support import REPOSITORY

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason=f"{BINARY} is not built")

GOLDEN = REPOSITORY / "tests" / "report" / "golden" / "report.json"
JUNIT = etree.XMLSchema(etree.parse(Path(__file__).parent / "schemas" / "junit-10.xsd"))


def report(**changes) -> dict:
    """A sound report: the golden one without its NaN; `changes` are new headline values."""
    made = json.loads(GOLDEN.read_text())
    mass = made["metrics"]["first_token_mass"]
    mass["rejected"] = 0
    mass["per_head"][0][0:2] = [0.07, 0.09]
    made["metrics"]["massive_activation"]["value"] = 3000.0
    for metric, value in changes.items():
        made["metrics"][metric]["value"] = value
    return made


@pytest.fixture
def files(tmp_path):
    """Writes reports: files("old", sink_rate=0.5) is the path of old.json."""

    def write(name: str, content: dict | None = None, **changes) -> Path:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content if content is not None else report(**changes)))
        return path

    return write


def check(*arguments, code: int = 0, **options) -> str:
    return sinkscope("check", *arguments, code=code, **options).stdout


def comparisons(*arguments, code: int = 0) -> list[dict]:
    document = json.loads(check(*arguments, "--json", code=code))
    assert document["kind"] == "check"
    assert document["ok"] == (code == 0)
    counted = {}
    for one in document["comparisons"]:
        counted[one["status"]] = counted.get(one["status"], 0) + 1
    assert counted == document["summary"]
    return document["comparisons"]


def statuses(found: list[dict]) -> dict[str, str]:
    return {one["metric"]: one["status"] for one in found}


def junit(path: Path) -> etree._Element:
    document = etree.parse(path)
    JUNIT.assertValid(document)
    return document.getroot()


def test_equal_reports_pass_and_a_moved_value_is_exit_1(files):
    old = files("old")
    assert check(old, "--baseline", old).splitlines()[-1].startswith("ok: 3 comparisons: 3 PASS")
    text = check(files("new", sink_rate=0.31), "--baseline", old, code=1)
    assert "FAIL sink_rate: 0.25 -> 0.31, change +0.06, tolerance 0.02" in text
    assert text.splitlines()[-1] == "FAIL: 1 of 3 comparisons: 2 PASS, 1 FAIL"


def test_all_failures_are_reported_not_just_the_first(files):
    found = comparisons(files("new", sink_rate=0.9, first_token_mass=0.9), "--baseline", files("old"), code=1)
    assert statuses(found) == {"first_token_mass": "FAIL", "sink_rate": "FAIL", "massive_activation": "PASS"}


def test_null_and_rejected_samples_are_never_pass(files):
    golden = json.loads(GOLDEN.read_text())  # a rejected sample, and a headline that is null
    found = statuses(comparisons(files("new", golden), "--baseline", files("old"), code=1))
    assert found == {"first_token_mass": "FAIL", "sink_rate": "PASS", "massive_activation": "FAIL"}
    assert "PASS" not in {s for m, s in statuses(comparisons(GOLDEN, "--baseline", GOLDEN)).items() if m != "sink_rate"}


def test_rules_of_a_file_decide_what_is_compared(files, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nmetric = "sink_rate"\ntolerance = 0.1\n')
    text = check(files("new", sink_rate=0.31, first_token_mass=0.9), "--baseline", files("old"), "--rules", rules)
    assert "not compared, without a rule or a sample: first_token_mass, massive_activation" in text
    for bad, message in [
        ('[[rule]]\nmetrik = "loss"\n', "rules.toml:2: unknown key 'metrik'; did you mean 'metric'?"),
        ('[[rule]]\nmetric = "sink_rat"\n', "did you mean 'sink_rate'?"),
        ('[[rule]]\nmetric = "sink_rate"\n[[rule]]\nmetric = "sink_rate"\n', "both rules are about sink_rate"),
        ("", "holds no [[rule]]"),
    ]:
        rules.write_text(bad)
        assert message in refused("check", files("new"), "--baseline", files("old"), "--rules", rules, code=2)
    assert "none.toml" in refused("check", files("new"), "--baseline", files("old"), "--rules", tmp_path / "none.toml", code=3)


def test_tolerances_are_given_on_the_command_line(files):
    moved, old = files("new", sink_rate=0.31), files("old")
    assert check(moved, "--baseline", old, "--tolerance", "sink_rate=0.0600001")
    assert check(moved, "--baseline", old, "--tolerance", "sink_rate=25%")
    check(moved, "--baseline", old, "--tolerance", "sink_rate=0.0599", code=1)
    check(moved, "--baseline", old, "--tolerance", "sink_rate=23%", code=1)
    assert "5 apples" in refused("check", moved, "--baseline", old, "--tolerance", "sink_rate=5 apples", code=2)


@pytest.mark.parametrize(
    "reason, change",
    [
        ("parameters", lambda r: r["metrics"]["sink_rate"]["parameters"].update(epsilon=0.2)),
        ("definition", lambda r: r["metrics"]["sink_rate"].update(definition_version=9)),
        ("input", lambda r: r["input"].update(sha256="f" * 64, length={"min": 128, "max": 128})),
        ("tokenizer", lambda r: r["input"]["tokenizer"].update(sha256="f" * 64)),
        ("dtype", lambda r: r["settings"].update(dtype="bfloat16")),
        ("sites", lambda r: r["sites"].pop()),
        ("heads", lambda r: r["sites"][0].update(query_heads=8)),
        ("complete", lambda r: r.update(complete=False)),
    ],
)
def test_another_measurement_is_incomparable_unless_the_difference_is_ignored(files, reason, change):
    other = report()
    change(other)
    new, old = files("new"), files("old", other)
    found = [one for one in comparisons(new, "--baseline", old, code=1) if one["metric"] == "sink_rate"]
    assert [(one["status"], one["reason"]) for one in found] == [("INCOMPARABLE", reason)]
    forced = comparisons(new, "--baseline", old, "--ignore-difference", reason)
    assert {one["status"] for one in forced} == {"PASS"}
    assert [one["ignored_differences"] for one in forced if one["metric"] == "sink_rate"] == [[reason]]
    assert comparisons(new, "--baseline", old, "--ignore-difference", "dtype,input,tokenizer,sites,heads,complete,parameters,definition")
    assert "(allowed)" in check(new, "--baseline", old, "--allow", "incomparable")


def test_allow_and_ignore_difference_know_their_words(files):
    assert "did you mean 'missing'?" in refused("check", files("a"), "--baseline", files("b"), "--allow", "mising", code=2)
    assert "did you mean 'dtype'?" in refused("check", files("a"), "--baseline", files("b"), "--ignore-difference", "input,dtyp", code=2)


def test_expectations_need_no_baseline(files):
    new = files("new")
    assert check(new, "--expect", "sink_rate<0.3", "--expect", "max(first_token_mass.last_query) < .95", code=1)  # a null
    assert "PASS expected sink_rate<0.3: sink_rate is 0.25" in check(new, "--expect", "sink_rate<0.3")
    text = check(new, "--expect", "sink_rate<0.05", "--expect", "sink_rate.by_epsilon<.6", code=1)
    assert "FAIL expected sink_rate<0.05: sink_rate is 0.25" in text
    assert "PASS expected sink_rate.by_epsilon<.6" in text
    assert "did you mean 'sink_rate'?" in refused("check", new, "--expect", "sinkrate<1", code=2)
    assert "METRIC[.SERIES] OP NUMBER" in refused("check", new, "--expect", "sink_rate", code=2)


def test_junit_is_valid_under_the_schema_of_the_xunit_plugin(files, tmp_path):
    nasty = report(sink_rate=0.9)
    for site in nasty["sites"]:
        site["path"] = 'm."<&>\x1b\n' + site["path"] + "é ]]>"
    nasty["metrics"]["first_token_mass"]["per_head"][1][1] = 0.1
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nmetric = "*"\n[[rule]]\nmetric = "first_token_mass"\nscope = "head"\n')
    out = tmp_path / "check.xml"
    check(files("new", nasty), "--baseline", files("old"), "--rules", rules, "--junit", out, code=1)
    root = junit(out)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "2", "0")
    failure = root.find(".//testcase[@name='sink_rate']/failure")
    assert failure.get("message") == "sink_rate: 0.25 -> 0.9, change +0.65, tolerance 0.02"
    assert "m.\"<&>\ufffd\nm.layers.1.attn" in root.find(".//testcase[@name='first_token_mass, all heads']/failure").text

    other = report()
    other["settings"]["dtype"] = "float16"
    check(files("new"), "--baseline", files("old", other), "--junit", out, code=1)
    assert junit(out).get("errors") == "3"
    assert check(files("new"), "--baseline", files("old"), "--junit", "-").startswith("<?xml")


def test_github_gets_annotations_and_a_summary(files, tmp_path):
    old = files("old, 100%: x")
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    env = environment(GITHUB_STEP_SUMMARY=str(summary))
    lines = check(files("new", sink_rate=0.9), "--baseline", old, "--github", code=1, env=env).splitlines()
    command = [line for line in lines if line.startswith("::")]
    name = str(old).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    assert command == [f"::error file={name},title=FAIL sink_rate::sink_rate: 0.25 -> 0.9, change +0.65, tolerance 0.02"]
    assert summary.read_text().startswith("before\n### sinkscope check: FAIL")
    assert "| ❌ FAIL | sink&#95;rate | 0.25 | 0.9 | +0.65 | 0.02 |" in summary.read_text()

    with_json = sinkscope("check", files("new", sink_rate=0.9), "--baseline", old, "--github", "--json", code=1, env=env)
    json.loads(with_json.stdout)
    assert with_json.stderr.startswith("::error ")
    assert "GITHUB_STEP_SUMMARY" in sinkscope(
        "check", old, "--baseline", old, "--github", code=2, env=environment(GITHUB_STEP_SUMMARY=str(tmp_path / "no" / "s.md"))
    ).stderr


def test_the_summary_of_a_step_stays_within_one_mebibyte(files, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("x" * (2**20 - 500))
    env = environment(GITHUB_STEP_SUMMARY=str(summary))
    for _ in range(3):
        check(files("new"), "--baseline", files("old"), "--github", env=env)
    assert summary.stat().st_size <= 2**20


def test_benchmark_json_holds_the_headlines(files, tmp_path):
    out = tmp_path / "benchmark.json"
    check(files("new"), "--baseline", files("old"), "--benchmark-json", out)
    entries = json.loads(out.read_text())
    assert [entry["name"] for entry in entries] == ["first_token_mass", "sink_rate", "massive_activation"]
    for entry in entries:
        assert isinstance(entry["value"], float) and isinstance(entry["unit"], str) and isinstance(entry["extra"], str)
    done = sinkscope("check", GOLDEN, "--expect", "sink_rate<1", "--benchmark-json", "-")
    assert [entry["name"] for entry in json.loads(done.stdout)] == ["first_token_mass", "sink_rate"]
    assert "without a value" in done.stderr and "massive_activation" in done.stderr


def test_update_baseline_prints_the_comparison_then_rewrites(files):
    new, old = files("new", sink_rate=0.9), files("old")
    text = check(new, "--baseline", old, "--update-baseline")
    assert "FAIL sink_rate" in text
    assert json.loads(old.read_text()) == json.loads(new.read_text())
    assert check(new, "--baseline", old)


@pytest.mark.parametrize(
    "code, damage",
    [
        (3, lambda r: r.update(complete=False)),
        (5, lambda r: r["metrics"]["sink_rate"].update(rejected=2)),
        (5, lambda r: r["metrics"]["sink_rate"].update(value=None)),
    ],
)
def test_a_baseline_is_never_made_of_an_incomplete_or_nan_report(files, tmp_path, code, damage):
    bad = report()
    damage(bad)
    new, old = files("new", bad), files("old")
    before = old.read_text()
    done = sinkscope("check", new, "--baseline", old, "--update-baseline", code=code)
    assert done.stdout and "does not become the baseline" in done.stderr
    assert old.read_text() == before
    missing = tmp_path / "none.json"
    sinkscope("check", new, "--baseline", missing, "--if-no-baseline", "create", code=code)
    assert not missing.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.json", "old.json"]


def test_a_failed_expectation_does_not_become_the_baseline(files):
    new, old = files("new", sink_rate=0.9), files("old")
    before = old.read_text()
    check(new, "--baseline", old, "--update-baseline", "--expect", "sink_rate<0.5", code=1)
    assert old.read_text() == before


def test_without_a_baseline_the_flag_decides(files, tmp_path):
    new, missing = files("new"), tmp_path / "base.json"
    assert "--if-no-baseline create" in refused("check", new, "--baseline", missing, code=3)
    assert {one["status"] for one in comparisons(new, "--baseline", missing, "--if-no-baseline", "pass")} == {"NEW"}
    assert not missing.exists()
    check(new, "--baseline", missing, "--if-no-baseline", "create")
    assert json.loads(missing.read_text()) == json.loads(new.read_text())
    check(new, "--baseline", missing, "--if-no-baseline", "create")


def test_several_baselines_widen_the_tolerance_to_their_spread(files):
    old = [files("a", sink_rate=0.2), files("b", sink_rate=0.3)]
    check(files("new", sink_rate=0.34), "--baseline", old[0], "--baseline", old[1])
    text = check(files("new", sink_rate=0.36), "--baseline", old[0], "--baseline", old[1], code=1)
    assert "tolerance 0.1 (the spread of 2 baselines)" in text


def test_an_older_minor_version_is_read_and_another_major_version_refused(files):
    later = report() | {"schema_version": "1.9", "more": {"x": 1}}
    assert check(files("new", later), "--baseline", files("old"))
    other = files("two", report() | {"schema_version": "2.0"})
    assert "reads 1.x" in refused("check", files("new"), "--baseline", other, code=3)
    assert "reads 1.x" in refused("diff", files("new"), other, code=3)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"kind": "measure"}', '{"a": 1e999}', '{"a": NaN}', "[" * 100_000, "\x00"])
def test_a_baseline_that_is_no_report_is_one_message(files, tmp_path, text):
    broken = tmp_path / "broken.json"
    broken.write_text(text)
    assert str(broken) in refused("check", files("new"), "--baseline", broken, code=3)
    assert str(broken) in refused("diff", broken, files("new"), code=3)


def test_a_huge_baseline_is_refused_in_seconds(files, tmp_path):
    huge = tmp_path / "huge.json"
    huge.write_text('{"kind": "measure", "x": [' + ",".join(["1"] * 3_000_000) + "]}")
    assert str(huge) in refused("check", files("new"), "--baseline", huge, code=3, timeout=60)


def test_an_unreadable_baseline_is_one_message(files, tmp_path):
    assert "none.json" in refused("check", files("new"), "--baseline", tmp_path / "none.json", code=3)
    assert "holds no sweep.json" in refused("check", tmp_path, "--baseline", tmp_path, code=3)
    if os.geteuid() != 0:
        closed = files("closed")
        closed.chmod(0)
        assert "closed.json" in refused("check", files("new"), "--baseline", closed, code=3)


def test_an_output_that_cannot_be_written_costs_nothing(files, tmp_path):
    old = files("old")
    for flag in ("--junit", "--benchmark-json"):
        assert "does not exist" in refused("check", old, "--baseline", old, flag, tmp_path / "no" / "f", code=2)
    folder = tmp_path / "no" / "base.json"
    assert "does not exist" in refused("check", old, "--baseline", folder, "--if-no-baseline", "create", code=2)


def test_what_contradicts_itself_is_refused(files):
    new = files("new")
    assert "no NEW" in refused("check", code=2)
    assert "--baseline" in refused("check", new, code=2)
    assert "--baseline OLD" in refused("check", new, "--expect", "sink_rate<1", "--tolerance", "loss=1", code=2)
    assert "exactly one" in refused("check", new, "--baseline", new, "--baseline", new, "--update-baseline", code=2)
    assert "exactly one" in refused("check", new, "--baseline", "-", "--update-baseline", code=2)
    assert "stdout" in refused("check", new, "--baseline", new, "--json", "--junit", "-", code=2)
    assert "fail, pass or create" in refused("check", new, "--baseline", new, "--if-no-baseline", "maybe", code=2)
    assert "only one operand" in refused("check", "-", "--baseline", "-", code=2)
    assert "two reports" in refused("diff", new, code=2)


def test_a_report_comes_from_stdin(files):
    assert "stdin against" in check("-", "--baseline", files("old"), stdin=files("new").read_text())
    assert check(files("new"), "--baseline", "-", stdin=files("old").read_text())
    assert "0 of" in sinkscope("diff", "-", files("old"), stdin=files("new").read_text()).stdout


@pytest.mark.parametrize("flag", ["--junit", "--benchmark-json"])
def test_a_result_that_would_overwrite_what_is_compared_is_refused(files, flag):
    new, old = files("new"), files("old")
    for output in (new, old):
        before = output.read_bytes()
        error = refused("check", new, "--baseline", old, flag, output, code=2)
        assert "would overwrite an input" in error and output.read_bytes() == before
    both = ("--junit", new.with_suffix(".out"), "--benchmark-json", new.with_suffix(".out"))
    assert "both write to" in refused("check", new, "--baseline", old, *both, code=2)


def test_a_sweep_is_compared_checkpoint_by_checkpoint(files, tmp_path):
    def sweep(name: str, **reports) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        entries = []
        for checkpoint, content in reports.items():
            (folder / f"{checkpoint}.json").write_text(json.dumps(content))
            entries.append({"name": checkpoint, "report": f"{checkpoint}.json", "status": "done"})
        (folder / "sweep.json").write_text(json.dumps({"schema_version": "1.0", "kind": "sweep", "checkpoints": entries}))
        return folder

    old = sweep("old", step0=report(), step1=report(), step2=report())
    new = sweep("new", step0=report(), step1=report(sink_rate=0.9), step3=report())
    out = tmp_path / "check.xml"
    found = comparisons(new, "--baseline", old, "--junit", out, code=1)
    of_rate = {one["checkpoint"]: one["status"] for one in found if one["metric"] in ("sink_rate", "*")}
    assert of_rate == {"step0": "PASS", "step1": "FAIL", "step3": "NEW", "step2": "MISSING"}
    suites = {suite.get("name"): suite for suite in junit(out)}
    assert len(suites) == 4 and suites["sinkscope check step1"].get("failures") == "1"
    assert "step1: sink_rate: 0.25 -> 0.9" in check(new, "--baseline", old, code=1)
    assert "copy the folder" in refused("check", new, "--baseline", old, "--update-baseline", code=2)
    document = json.loads(sinkscope("diff", old, new, "--json").stdout)
    assert [(c["checkpoint"], c["metric"]) for c in document["changes"]] == [("step1", "sink_rate")]
    assert {f["checkpoint"] for f in document["facts"]} == {"step2", "step3"}


def test_diff_says_what_differs_and_fails_only_on_request(files):
    other = report(sink_rate=0.3)
    other["settings"]["dtype"] = "bfloat16"
    a, b = files("a"), files("b", other)
    text = sinkscope("diff", a, b).stdout
    assert "settings.dtype" in text and "bfloat16" in text
    assert "1 of" in text.splitlines()[-1]
    assert sinkscope("diff", a, b, "--exit-code", code=1).stdout == text
    assert sinkscope("diff", a, a, "--exit-code").stdout
    document = json.loads(sinkscope("diff", a, b, "--json").stdout)
    assert document["different"] is True
    assert document["changes"][0]["units"] == pytest.approx(2.5)


@pytest.mark.parametrize("command", ["check", "diff"])
def test_help_has_examples(command):
    assert f"sinkscope {command}" in sinkscope(command, "--help").stdout.split("Examples:")[1]
