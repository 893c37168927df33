"""Token files, outputs and devices that cannot be used: one clear message, the documented exit code, nothing lost."""

import json
import os
import shutil
import signal
import subprocess

import numpy as np
import pytest
import torch
from measuring import BINARY, MEASURES, checked, codes, environment, measure, refused, sinkscope, warning, write_tokens
from safetensors.numpy import load_file, save_file
from support import DEMO
from toys import Sdpa, Toy, write

ONE = DEMO / "backcopy_1layer.pt"  # 67 ids, 128 positions
FAST = ("--metric", "first_token_mass")

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1,2]\n[3,-4]\n", ("line 2", "-4", "negative")),
        ("[1,2]\n[3,67]\n", ("line 2", "67", "vocabulary")),
        ("[1,99999999999999999999]\n", ("line 1", "too large")),
        ("[1,2.5]\n", ("line 1", "2.5", "not an integer")),
        ('[1,"2"]\n', ("line 1", "not an integer")),
        ("[1,true]\n", ("line 1", "not an integer")),
        ("[[1,2],[3]]\n", ("line 1", "one sequence a line")),
        ("[1,2]\n\n[3]\n", ("line 2", "empty line")),
        ("[1,2]\n[]\n", ("line 2", "empty sequence")),
        ("once upon a time\n", ("line 1", "not JSON")),
        ('{"text": "a"}\n', ("line 1", "ids")),
        ("7\n", ("line 1",)),
        ("", ("empty",)),
        (json.dumps(list(range(60)) * 3) + "\n", ("180", "128")),
        ('{"input_ids": [1,2,3], "attention_mask": [1,0,1]}\n', ("line 1", "hole", "position 1")),
        ('{"input_ids": [1,2,3], "attention_mask": [1,1]}\n', ("line 1", "2 entries for 3 ids")),
        ('{"input_ids": [1,2,3], "attention_mask": [0,0,0]}\n', ("line 1", "no id")),
        ('{"input_ids": [1,2], "attention_mask": [2,1]}\n', ("line 1", "0 and 1")),
    ],
)
def test_a_bad_token_line_is_refused_with_line_and_id(tmp_path, text, words):
    path, output = tmp_path / "t.jsonl", tmp_path / "r.json"
    path.write_text(text)
    output.write_text("earlier")
    error = refused("measure", ONE, "--tokens", path, "-o", output, *FAST, code=3)
    assert all(word in error for word in words), error
    assert output.read_text() == "earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.json", "t.jsonl"]


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [("a.npy", np.zeros((2, 4), np.float32), ("f4", "i8")), ("a.npy", np.zeros((2, 4), np.int16), ("i2",)),
     ("a.npy", np.zeros(4, np.int64), ("ids[None, :]",)), ("a.npy", np.zeros((1, 2, 4), np.int64), ("shape",)),
     ("a.npy", np.array([[1, 2], [3, -1]]), ("row 1", "-1", "negative")), ("a.npy", np.full((1, 3), 67), ("row 0", "67")),
     ("a.npy", np.zeros((0, 4), np.int64), ("a.npy",)), ("a.npy", np.zeros((2, 0), np.int64), ("row 0", "empty")),
     ("a.safetensors", {"ids": np.zeros((1, 2), np.int64)}, ("input_ids",)),
     ("a.safetensors", {"input_ids": np.zeros((1, 2), np.float32)}, ("F32",)),
     ("a.safetensors", {"input_ids": np.ones((1, 3), np.int64), "attention_mask": np.array([[1, 0, 1]])}, ("hole",)),
     ("a.safetensors", {"input_ids": np.ones((1, 3), np.int64), "attention_mask": np.ones((1, 2), np.int64)}, ("shape",))],
)
def test_an_array_of_the_wrong_type_shape_or_content_is_refused(tmp_path, name, array, words):
    path = tmp_path / name
    if isinstance(array, dict):
        save_file(array, path)
    else:
        np.save(path, array)
    error = refused("measure", ONE, "--tokens", path, *FAST, code=3)
    assert all(word in error for word in words), error


def test_a_token_file_of_another_kind_is_a_usage_error(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3")
    assert ".jsonl, .npy or .safetensors" in refused("measure", ONE, "--tokens", tmp_path / "a.txt", *FAST, code=2)


def test_a_truncated_array_file_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 32), np.int64))
    save_file({"input_ids": np.zeros((4, 32), np.int64)}, tmp_path / "a.safetensors")
    for name in ("a.npy", "a.safetensors"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-64])
        assert name in refused("measure", ONE, "--tokens", path, *FAST, code=3)


def test_ragged_lengths_run_grouped_in_input_order_with_a_warning(tmp_path):
    random = np.random.default_rng(0)
    rows = [random.integers(0, 65, n).tolist() for n in (11, 30, 11, 16, 30)]
    report = measure(ONE, "--tokens", write_tokens(tmp_path / "t.jsonl", rows))
    assert "11 to 30" in warning(report, "mixed_lengths")
    assert report["input"]["length"] == {"min": 11, "max": 30}
    together = report["metrics"]["first_token_mass"]["per_sequence"]
    for number, row in enumerate(rows):
        alone = measure(ONE, "--tokens", "-", *FAST, stdin=json.dumps(row) + "\n")
        assert alone["metrics"]["first_token_mass"]["value"] == pytest.approx(together[number], abs=1e-6)
        assert alone["metrics"]["first_token_mass"]["ci95"] is None


def test_a_mask_removes_padding_and_without_one_it_is_warned_of(tmp_path):
    rows = np.random.default_rng(0).integers(1, 65, (6, 20))
    padded = np.pad(rows, ((0, 0), (0, 5)))
    lines = [json.dumps({"input_ids": p.tolist(), "attention_mask": [1] * 20 + [0] * 5}) for p in padded]
    (tmp_path / "masked.jsonl").write_text("\n".join(lines) + "\n")
    masked = measure(ONE, "--tokens", tmp_path / "masked.jsonl", *FAST)
    plain = measure(ONE, "--tokens", write_tokens(tmp_path / "plain.jsonl", rows), *FAST)
    assert masked["input"]["sha256"] == plain["input"]["sha256"]
    assert masked["metrics"] == plain["metrics"]
    assert not {"looks_padded"} & (codes(masked) | codes(plain))
    for side in ((0, 5), (5, 0)):
        report = measure(ONE, "--tokens", write_tokens(tmp_path / "p.jsonl", np.pad(rows, ((0, 0), side))), *FAST)
        assert "id 0" in warning(report, "looks_padded")


def test_a_model_without_metadata_runs_and_an_id_beyond_its_embedding_is_an_error(tmp_path):
    path = write(Toy(Sdpa()), tmp_path / "m.pt")
    report = measure(path, "--tokens", "-", *FAST, stdin="[1,2,3]\n")
    assert report["model"]["metadata"] is None and report["model"]["vocabulary"] is None
    message = refused("measure", path, "--tokens", "-", *FAST, stdin="[1,2,29]\n", code=3)
    assert "line 1: id 29 at position 2" in message
    assert measure(path, "--random-tokens", 3, *FAST)["input"]["vocabulary"] == 29  # rows of its embedding
    assert "--tokens" in refused("measure", path, code=2)  # no samples in it


@pytest.mark.parametrize(
    ("flags", "words"),
    [(("--metric", "sinkrate"), ("sink_rate",)), (("--preset", "gu24"), ("gu2024",)), (("--lenght", "3"), ("--length",)),
     (("--set", "sink_rate.epsilom=1"), ("epsilon",)), (("--set", "sink_rate.epsilon=2"), ("between 0 and 1",)),
     (("--dtype", "int8"), ("float32",)), (("--device", "tpu"), ("cuda",)), (("--layers", "a-b"), ("--layers",)),
     (("--random-tokens", "2", "--tokens", "-"), ("exclude",)), (("--bos", "99"), ("vocabulary",)),
     (("--limit", "0"), ("--limit",)), (("--threads", "99999"), ("1024",)),
     (("--random-tokens", "2", "--length", "129"), ("128",)),
     (("--metric", "mixing_jacobian", "--set", "mixing_jacobian.targets=64"), ("64",))],
)
def test_a_flag_that_makes_no_sense_names_the_valid_value(flags, words):
    code = 3 if "129" in flags else 2
    error = refused("measure", ONE, *flags, code=code)
    assert all(word in error for word in words), error


def test_unwritable_outputs_are_refused_before_the_run(tmp_path):
    for flag in ("-o", "--csv", "--markdown", "--arrays"):
        assert "directory" in refused("measure", ONE, flag, tmp_path, *FAST, code=2, timeout=20)
        assert "does not exist" in refused("measure", ONE, flag, tmp_path / "none" / "r", *FAST, code=2, timeout=20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["-o", "--csv", "--markdown", "--arrays"])
def test_a_full_disk_is_an_error_and_the_other_results_are_still_written(tmp_path, flag):
    other = "--csv" if flag == "-o" else "-o"
    done = sinkscope("measure", ONE, "--limit", 2, *FAST, flag, "/dev/full", other, tmp_path / "kept", code=2)
    assert "/dev/full" in done.stderr and "full" in done.stderr
    assert (tmp_path / "kept").stat().st_size > 0


PRINTED = [("measure",), ("measure", "--json"), ("measure", "--csv", "-"), ("measure", "--dry-run"), ("inspect",)]


def printing(printed, stdout, *more):
    command = [BINARY, *printed, ONE, "--limit", "2", *more]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)


@pytest.mark.parametrize("printed", PRINTED, ids=" ".join)
def test_a_full_disk_under_stdout_is_one_error(printed):
    with open("/dev/full", "w") as full:
        done = printing(printed, full)
    assert done.returncode == 2 and done.stderr.count("sinkscope: error:") == 1
    assert "the disk is full" in done.stderr or "No space left" in done.stderr


@pytest.mark.parametrize("printed", PRINTED, ids=" ".join)
def test_a_closed_pipe_ends_quietly_and_the_files_are_complete(tmp_path, printed):
    files = ("-o", tmp_path / "r.json", "--arrays", tmp_path / "a.safetensors") if printed[0] == "measure" else ()
    read, unread = os.pipe()
    os.close(read)
    done = printing(printed, unread, *files)
    os.close(unread)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")
    if files and "--dry-run" not in printed:
        checked((tmp_path / "r.json").read_text())
        assert load_file(tmp_path / "a.safetensors")


def test_what_cannot_be_printed_because_stdout_is_closed_goes_into_no_file(tmp_path):
    command = f"{BINARY} measure {ONE} --limit 2 -o {tmp_path / 'r.json'} --csv {tmp_path / 'r.csv'} >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 2 and done.stderr.count("sinkscope: error: standard output cannot be written") == 1
    checked((tmp_path / "r.json").read_text())
    assert "strongest heads" not in (tmp_path / "r.csv").read_text()


def test_a_model_whose_name_begins_with_a_dash_follows_two(tmp_path):
    shutil.copy(ONE, tmp_path / "-odd-name.pt")
    command = [BINARY, "measure", "--limit", "2", *FAST, "--json", "--", "-odd-name.pt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert checked(done.stdout)["model"]["path"] == "-odd-name.pt"


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_a_device_error_and_auto_means_cpu():
    for device in ("cuda", "cuda:1"):
        assert "--device cpu" in refused("measure", ONE, "--device", device, *FAST, code=4)
    report = measure(ONE, "--device", "auto", "--limit", 1, *FAST)
    assert report["settings"]["device"] == "cpu" and report["settings"]["cuda"] is None


def test_a_dtype_that_the_graph_bakes_in_is_refused_and_another_is_run(tmp_path):
    class Cast(Sdpa):
        def forward(self, q, k, v):
            return super().forward(q, k, v).to(torch.float32)

    path = write(Toy(Cast()), tmp_path / "m.pt")
    assert "float32" in refused("measure", path, "--tokens", "-", "--dtype", "bfloat16", stdin="[1,2,3]\n", code=3)
    report = measure(ONE, "--dtype", "bfloat16", "--limit", 4, *FAST)
    assert report["settings"]["dtype"] == "bfloat16"
    exact = measure(ONE, "--limit", 4, *FAST)["metrics"]["first_token_mass"]["value"]
    assert report["metrics"]["first_token_mass"]["value"] == pytest.approx(exact, abs=0.02)
