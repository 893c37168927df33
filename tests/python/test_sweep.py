"""sinkscope sweep on the demo checkpoints: one report each, as training logged and as `measure` would have written it."""

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
from measuring import MEASURES, measure, refused, sinkscope
from safetensors.numpy import load_file, save_file
from support import DEMO
from sweeping import CHECKPOINTS, FAST, ONE, STEPS, index, lasting, reports, rows, same_sweep, statuses, sweep
from toys import Sdpa, Toy, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The nine checkpoints, everything measured."""
    directory = tmp_path_factory.mktemp("demo") / "sweep"
    done = sweep(ONE, "--weights", *CHECKPOINTS, "-o", directory, "--stays-above", "sink_rate=0.9", "--csv", directory / "all.csv")
    return directory, done


@pytest.fixture
def copies(tmp_path):
    """Four checkpoints that a test may damage."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return [shutil.copy(path, folder) for path in CHECKPOINTS[:4]]


def test_the_nine_checkpoints_give_what_training_logged(demo):
    directory, _ = demo
    logged = [json.loads(line) for line in (DEMO / "backcopy_1layer.log.jsonl").read_text().splitlines()]
    found = reports(directory)
    assert [row["step"] for row in index(directory)["checkpoints"]] == STEPS == [line["step"] for line in logged]
    for line in logged:
        metrics = found[f"step{line['step']}"]["metrics"]
        np.testing.assert_allclose(metrics["first_token_mass"]["per_head"], line["first_token_mass"], atol=1e-5)
        np.testing.assert_allclose(metrics["sink_rate"]["per_head"], line["sink_rate"], atol=0.5 / 64)
        assert metrics["loss"]["value"] == pytest.approx(line["sample_loss"], abs=1e-5)


def test_a_report_of_a_sweep_is_that_of_measure(demo):
    directory, _ = demo
    for step in (0, 600, 1600):
        path = DEMO / "backcopy_1layer" / f"step{step}.safetensors"
        alone = measure(ONE, "--weights", path, "--label", f"checkpoint=step{step}", "--label", f"step={step}")
        assert lasting(reports(directory)[f"step{step}"]) == lasting(alone)


def test_the_index_has_a_row_for_each_and_names_the_graph(demo):
    directory, _ = demo
    document = index(directory)
    assert document["schema_version"] == "1.0" or document["schema_version"].startswith("1.")
    assert document["model"]["path"] == str(ONE)
    for row in document["checkpoints"]:
        report = reports(directory)[row["name"]]
        assert row["status"] == "done" and row["report"] == f"{row['name']}.json"
        assert row["sha256"] == report["model"]["weights"]["sha256"]
        assert row["training_tokens"] is row["duplicate_of"] is row["message"] is None


def test_the_summary_draws_every_metric_and_says_from_when_it_stays_above(demo):
    _, done = demo
    assert "shard 0/1: 9 of 9" in done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("sink_rate "))
    assert "▁" in line and "█" in line and line.split()[2:] == ["0", "1", "0", "1"]
    assert "sink_rate stays above .9 from step 200 on" in done.stdout
    assert "9 checkpoints: 9 done; steps 0 to 1600" in done.stdout


def test_the_long_table_has_checkpoint_and_step(demo):
    directory, _ = demo
    table = list(csv.DictReader(io.StringIO((directory / "all.csv").read_text())))
    heads = {(line["step"], line["value"]) for line in table if line["metric"] == "sink_rate" and line["series"] == ""}
    assert {int(step) for step, _ in heads} == set(STEPS)
    assert {line["checkpoint"] for line in table} == {f"step{step}" for step in STEPS}
    shown = sinkscope("show", directory, "--csv", "--metric", "sink_rate").stdout
    assert {line["step"] for line in csv.DictReader(io.StringIO(shown))} == {str(step) for step in STEPS}


def test_a_second_run_measures_nothing_and_changes_nothing(demo):
    directory, _ = demo
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("step*.json")}
    done = sweep(ONE, "--weights", *CHECKPOINTS, "-o", directory, "-v")
    assert done.stderr.count("finished before") == 9 and "measured in" not in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in directory.rglob("step*.json")}


def test_a_run_with_other_settings_measures_again(tmp_path, copies):
    directory = tmp_path / "sweep"
    sweep(ONE, "--weights", *copies, "-o", directory, *FAST)
    done = sweep(ONE, "--weights", *copies, "-o", directory, *FAST, "--limit", 3, "-v")
    assert done.stderr.count("measured in") == 4
    assert {report["input"]["sequences"] for report in reports(directory).values()} == {3}


def test_json_prints_the_index(tmp_path, copies):
    done = sweep(ONE, "--weights", copies[0], "-o", tmp_path / "sweep", *FAST, "--json")
    assert json.loads(done.stdout) == index(tmp_path / "sweep")


def test_quoted_globs_are_expanded_and_a_dry_run_only_lists(tmp_path):
    pattern = DEMO / "backcopy_1layer" / "step*.safetensors"
    done = sweep(ONE, "--weights", pattern, "-o", tmp_path / "sweep", "--dry-run", "--shard", "1/4")
    lines = done.stdout.splitlines()
    assert lines[0] == "shard 1/4: 2 of 9"
    assert [line.split()[1] for line in lines[1:] if line.startswith("*")] == ["400", "600"]
    assert not (tmp_path / "sweep").exists()


def test_missing_steps_are_reported(tmp_path):
    some = [path for step, path in zip(STEPS, CHECKPOINTS, strict=True) if step != 600]
    done = sweep(ONE, "--weights", *some, "-o", tmp_path / "guessed", *FAST)
    assert rows(tmp_path / "guessed")["step600"]["status"] == "missing" and "missing step600" in done.stdout
    done = sweep(ONE, "--weights", *some[:2], "-o", tmp_path / "expected", *FAST, "--expect-steps", "0:400:200", code=6)
    assert statuses(tmp_path / "expected") == {"step0": "done", "step200": "done", "step400": "missing"}
    assert "1 missing" in done.stderr and done.stderr.count("sinkscope: error:") == 1


def test_identical_weights_are_measured_once_and_keep_their_row(tmp_path, copies):
    twin = tmp_path / "checkpoints" / "step201.safetensors"
    tensors = load_file(copies[1])
    save_file(dict(reversed(tensors.items())), twin, metadata={"format": "pt"})  # other bytes, the same tensors
    done = sweep(ONE, "--weights", *copies, twin, "-o", tmp_path / "sweep", *FAST, "-v")
    assert done.stderr.count("measured in") == 4
    row = rows(tmp_path / "sweep")["step201"]
    assert (row["status"], row["duplicate_of"], row["report"]) == ("duplicate", "step200", "step201.json")
    found = reports(tmp_path / "sweep")
    alone = measure(ONE, "--weights", twin, *FAST, "--label", "checkpoint=step201", "--label", "step=201")
    assert lasting(found["step201"]) == lasting(alone)


def test_odd_names_become_safe_ones(tmp_path):
    folder = tmp_path / "odd"
    names = ["a b", "new\nline", "größe", "-dash", ".hidden", "sweep", "100%", "deep/er/step5"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKPOINTS[0], folder / f"{name}.safetensors")
    paths = [folder / f"{name}.safetensors" for name in names] + [folder / "deep" / ".." / "a b.safetensors"]
    sweep(ONE, "--weights", *paths, "-o", tmp_path / "out", *FAST)
    encoded = {"a%20b", "new%0Aline", "gr%C3%B6%C3%9Fe", "%2Ddash", "%2Ehidden", "%73weep", "100%25", "deep/er/step5"}
    assert set(rows(tmp_path / "out")) == encoded == set(reports(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd", "out"]
    assert rows(tmp_path / "out")["deep/er/step5"]["step"] == 5


def test_a_manifest_names_what_paths_do_not_say(tmp_path, copies):
    lines = [{"path": copies[0], "name": "../first", "step": 7, "training_tokens": 10**12}, {"path": "checkpoints/step200.safetensors"}]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sweep(ONE, "--manifest", manifest, "-o", tmp_path / "out", *FAST)
    found = rows(tmp_path / "out")
    assert (found["%2E./first"]["step"], found["%2E./first"]["training_tokens"]) == (7, 10**12)
    assert reports(tmp_path / "out")["%2E./first"]["labels"]["training_tokens"] == str(10**12)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [("", ("empty",)), ("x\n", ("line 1", "JSON")), ('{"path": "a"}\n{"name": "b"}\n', ("line 2", "no path")),
     ('{"path": "a", "steps": 1}\n', ("line 1", "'steps'", "did you mean 'step'")),
     ('{"path": "a", "step": 1.5}\n', ("line 1", "step"))],
)
def test_a_manifest_with_a_mistake_is_refused_with_its_line(tmp_path, text, words):
    (tmp_path / "m.jsonl").write_text(text)
    error = refused("sweep", ONE, "--manifest", tmp_path / "m.jsonl", "-o", tmp_path / "out", code=3)
    assert all(word in error for word in words), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [(("--shard", "9/9"), 2, "count from 0"), (("--shard", "slurm"), 2, "SLURM_ARRAY_TASK_ID"), (("--shard", "x"), 2, "i/n"),
     (("--expect-steps", "1:2"), 2, "FIRST:LAST:STEP"), (("--step-regex", "("), 2, "regular expression"),
     (("--step-regex", "x(1)"), 2, "no checkpoint name matches"), (("--metric", "sink_rat"), 2, "sink_rate"),
     (("--label", "step=1"), 2, "--label"), (("--tokens", "none.jsonl"), 3, "none.jsonl")],
)
def test_flags_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, flags, code, words):
    assert words in refused("sweep", ONE, "--weights", CHECKPOINTS[0], "-o", tmp_path / "out", *flags, code=code)
    assert not (tmp_path / "out" / "step0.json").exists()


def test_a_graph_that_cannot_be_used_ends_the_sweep_at_once(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04 nonsense")
    refused("sweep", tmp_path / "bad.pt", "--weights", *CHECKPOINTS, "-o", tmp_path / "out", code=3)


def test_failures_are_recorded_and_the_rest_goes_on(tmp_path, copies):
    damaged = tmp_path / "checkpoints" / "step201.safetensors"
    damaged.write_bytes(CHECKPOINTS[1].read_bytes()[:1000])
    other = tmp_path / "checkpoints" / "step202.safetensors"
    tensors = load_file(copies[1])
    save_file(dict(list(tensors.items())[1:]), other)
    gone = tmp_path / "checkpoints" / "step203.safetensors"
    done = sweep(ONE, "--weights", *copies, damaged, other, gone, "-o", tmp_path / "out", *FAST, code=6)
    assert sorted(statuses(tmp_path / "out").values()) == ["done"] * 4 + ["failed"] * 3
    found = rows(tmp_path / "out")
    assert "is the download complete?" in found["step201"]["message"]
    assert "missing" in found["step202"]["message"] and next(iter(tensors)) in found["step202"]["message"]
    assert "No such file" in found["step203"]["message"]
    assert done.stderr.count("sinkscope: error:") == 1 and "3 failed" in done.stderr
    shutil.copy(CHECKPOINTS[5], gone)
    sweep(ONE, "--weights", *copies, damaged, other, gone, "-o", tmp_path / "out", *FAST, code=6)
    assert statuses(tmp_path / "out")["step203"] == "done"


def test_a_checkpoint_does_not_inherit_from_the_one_before(tmp_path, copies):
    """Weights are swapped in place: what the second lacks comes from the model file, not from the first."""
    tensors = load_file(copies[1])
    lacking = dict(tensors)
    del lacking[next(name for name in tensors if "weight" in name)]
    partial = tmp_path / "checkpoints" / "step201.safetensors"
    save_file(lacking, partial)
    loose = ("--allow-missing", "*", *FAST)
    sweep(ONE, "--weights", *copies, partial, "-o", tmp_path / "out", *loose)
    found = reports(tmp_path / "out")
    for path in (*copies, partial):
        name = os.path.basename(path).removesuffix(".safetensors")
        assert found[name]["metrics"] == measure(ONE, "--weights", path, *loose)["metrics"]


def test_another_dtype_gives_what_measure_gives(tmp_path, copies):
    doubles = tmp_path / "checkpoints" / "step201.safetensors"
    save_file({name: tensor.astype(np.float64) for name, tensor in load_file(copies[1]).items()}, doubles)
    flags = ("--dtype", "bfloat16", *FAST)
    sweep(ONE, "--weights", *copies, doubles, "-o", tmp_path / "out", *flags)
    for name, report in reports(tmp_path / "out").items():
        alone = measure(ONE, "--weights", tmp_path / "checkpoints" / f"{name}.safetensors", *flags)
        assert lasting(report, "labels") == lasting(alone, "labels")


def test_whole_model_files_are_swept_as_well(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for step in (0, 10, 20):
        write(Toy(Sdpa(), seed=step), folder / f"step{step}.pt")
    shutil.copy(folder / "step0.pt", folder / "step1.pt")
    (folder / "step30.pt").write_bytes((folder / "step0.pt").read_bytes()[:500])
    flags = ("--random-tokens", 4, "--metric", "first_token_mass", "--threads", 1)
    files = sorted(folder.glob("*.pt"))
    sweep(*files, "-o", tmp_path / "out", *flags, code=6)
    assert index(tmp_path / "out")["model"] is None
    assert statuses(tmp_path / "out") == {
        "step0": "done", "step1": "duplicate", "step10": "done", "step20": "done", "step30": "failed"}
    for name, report in reports(tmp_path / "out").items():
        assert lasting(report, "labels") == lasting(measure(folder / f"{name}.pt", *flags), "labels")
        assert report["model"]["weights"] is None
    again = sweep(*files, "-o", tmp_path / "out", *flags, "-v", code=6)
    assert again.stderr.count("finished before") == 4


def test_a_hub_cache_is_named_by_its_revisions(tmp_path):
    cache = tmp_path / "models--x--y"
    paths = []
    for number, revision in enumerate(("step400", "main")):
        commit = f"{number}" * 40
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "refs").mkdir(exist_ok=True)
        (cache / "refs" / revision).write_text(commit)
        target = cache / "snapshots" / commit / "model.safetensors"
        target.symlink_to(CHECKPOINTS[2 + number])
        paths.append(target)
    sweep(ONE, "--weights", *paths, "-o", tmp_path / "out", *FAST)
    found = rows(tmp_path / "out")
    assert {name: row["step"] for name, row in found.items()} == {"0" * 40: 400, "1" * 40: None}


def test_shards_and_merge_equal_one_process(tmp_path):
    sweep(ONE, "--weights", *CHECKPOINTS, "-o", tmp_path / "whole", *FAST)
    for part in range(4):
        done = sweep(ONE, "--weights", *CHECKPOINTS, "-o", tmp_path / "parts", *FAST, "--shard", f"{part}/4")
        assert f"shard {part}/4: " in done.stderr
    merged = sweep("--merge", tmp_path / "parts")
    assert "9 checkpoints: 9 done" in merged.stdout
    same_sweep(tmp_path / "parts", tmp_path / "whole")
    before = (tmp_path / "parts" / "sweep.json").read_bytes()
    sweep("--merge", tmp_path / "parts", "-q")
    assert (tmp_path / "parts" / "sweep.json").read_bytes() == before


def test_an_unfinished_sweep_merges_with_exit_6(tmp_path):
    sweep(ONE, "--weights", *CHECKPOINTS, "-o", tmp_path / "parts", *FAST, "--shard", "0/4")
    done = sweep("--merge", tmp_path / "parts", code=6)
    assert "7 pending" in done.stderr
    (tmp_path / "empty").mkdir()
    assert "holds nothing" in refused("sweep", "--merge", tmp_path / "empty", code=2)


def test_a_table_that_would_replace_a_checkpoint_or_a_report_is_refused(tmp_path):
    checkpoint = shutil.copy(CHECKPOINTS[0], tmp_path / "step0.safetensors")
    before = (tmp_path / "step0.safetensors").read_bytes()
    refused("sweep", ONE, "--weights", checkpoint, "-o", tmp_path / "out", "--csv", checkpoint, code=2)
    assert (tmp_path / "step0.safetensors").read_bytes() == before
    sweep(ONE, "--weights", checkpoint, "-o", tmp_path / "out", "--limit", 2)
    kept = tmp_path / "out" / "sweep.json"
    assert "would overwrite an input" in refused("sweep", "--merge", tmp_path / "out", "--csv", kept, code=2)
    json.loads(kept.read_text())
