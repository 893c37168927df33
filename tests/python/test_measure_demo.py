"""The shipped demo models through the real program: the numbers that training logged, and what every flag does."""

import hashlib
import json
import struct

import numpy as np
import pytest
from measuring import MEASURES, codes, measure, refused, sinkscope, warning, write_tokens
from safetensors.numpy import load_file, save_file
from sinkscope_export.model_file import read_metadata
from support import DEMO
from truth import harmonic

ONE, THREE = DEMO / "backcopy_1layer.pt", DEMO / "backcopy_3layer.pt"
STEPS = [*range(0, 1601, 200)]
START = 65  # the task's first token

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def log_of(name):
    return {line["step"]: line for line in map(json.loads, (DEMO / f"{name}.log.jsonl").read_text().splitlines())}


@pytest.fixture(scope="session")
def one():
    return measure(ONE)


@pytest.fixture(scope="session")
def three():
    return measure(THREE, "--verify")


@pytest.fixture(scope="session")
def samples():
    return read_metadata(ONE)["samples"]


@pytest.fixture(scope="session")
def ids(samples, tmp_path_factory):
    """Twelve sample sequences as .jsonl: enough for what flags do."""
    return write_tokens(tmp_path_factory.mktemp("ids") / "ids.jsonl", samples[:12])


def sha256_of(rows):
    return hashlib.sha256(b"".join(struct.pack(f"<{1 + len(r)}q", len(r), *map(int, r)) for r in rows)).hexdigest()


def value(report, metric):
    return report["metrics"][metric]["value"]


def assert_reproduces(report, logged):
    metrics = report["metrics"]
    np.testing.assert_allclose(metrics["first_token_mass"]["per_head"], logged["first_token_mass"], atol=1e-5)
    np.testing.assert_allclose(metrics["sink_rate"]["per_head"], logged["sink_rate"], atol=0.5 / 64)
    assert metrics["loss"]["value"] == pytest.approx(logged["sample_loss"], abs=1e-5)


def test_the_one_layer_model_reproduces_its_training_log(one):
    assert_reproduces(one, log_of("backcopy_1layer")[1600])
    assert value(one, "sink_rate") == 1.0


def test_the_three_layer_model_reproduces_its_training_log(three):
    assert_reproduces(three, log_of("backcopy_3layer")[1600])
    heads = three["metrics"]["first_token_mass"]["per_head"]
    assert max((mass, (s, h)) for s, row in enumerate(heads) for h, mass in enumerate(row))[1] == (1, 0)


@pytest.mark.parametrize("step", STEPS)
def test_every_checkpoint_reproduces_its_line_of_the_log(step):
    weights = DEMO / "backcopy_1layer" / f"step{step}.safetensors"
    report = measure(ONE, "--weights", weights, "--metric", "first_token_mass", "--metric", "sink_rate", "--metric", "loss")
    assert_reproduces(report, log_of("backcopy_1layer")[step])
    assert report["model"]["weights"]["path"] == str(weights)
    assert (report["model"]["weights"]["dtype"], report["model"]["weights"]["casts"]) == ("float32", 0)


def test_the_last_checkpoint_gives_the_very_numbers_of_the_models_own_weights(one):
    report = measure(ONE, "--weights", DEMO / "backcopy_1layer" / "step1600.safetensors")
    assert report["metrics"] == one["metrics"]
    assert one["model"]["weights"] is None


def test_the_report_describes_model_and_input(one, samples):
    model, found = one["model"], one["input"]
    assert model["sha256"] == hashlib.sha256(ONE.read_bytes()).hexdigest()
    assert model["dtype"] == "float32" and model["vocabulary"] == 67
    assert "samples" not in model["metadata"] and model["metadata"]["family"] == "backcopy"
    assert (found["source"], found["sequences"], found["tokens"]) == ("samples", 64, 4096)
    assert found["length"] == {"min": 64, "max": 64}
    assert found["sha256"] == sha256_of(samples)
    assert found["position_0_ids"] == {str(START): 64}
    assert found["bos"] == {"id": START, "policy": "keep", "at_position_0": 64, "inside": 0}
    assert one["complete"] is True and one["verify"] is None and one["kind"] == "measure"


def test_uniform_attention_stands_beside_the_value(one):
    assert one["metrics"]["first_token_mass"]["uniform"] == pytest.approx(harmonic(64) / 64, abs=1e-12)
    assert one["metrics"]["sink_rate"]["uniform"] == 0


def test_two_runs_differ_only_in_created_run_and_argv(one):
    again = measure(ONE)
    for report in (one, again):
        assert set(report["run"]) == {"seconds", "tokens_per_second", "peak_memory_bytes"}
    assert {k: v for k, v in one.items() if k not in ("created", "run", "argv")} == {
        k: v for k, v in again.items() if k not in ("created", "run", "argv")
    }


def test_verify_reports_identical_logits_and_small_errors(three):
    verify = three["verify"]
    assert verify["logits_bit_identical"] is True and verify["prefix_consistent"] is True
    assert verify["sequences"] == 63
    assert 0 < max(verify["max_error"].values()) < 1e-5


def test_jsonl_npy_and_safetensors_of_the_same_ids_give_one_hash_and_one_result(tmp_path, ids, samples):
    rows = np.array(samples[:12], np.int64)
    np.save(tmp_path / "ids.npy", rows)
    np.save(tmp_path / "ids32.npy", rows.astype(np.int32))
    save_file({"input_ids": rows}, tmp_path / "ids.safetensors")
    mask = np.pad(np.ones_like(rows), ((0, 0), (3, 2)))
    padded = np.pad(rows, ((0, 0), (3, 2)), constant_values=7)
    save_file({"input_ids": padded, "attention_mask": mask}, tmp_path / "masked.safetensors")
    flags = ("--metric", "first_token_mass", "--metric", "loss")
    expected = measure(ONE, "--tokens", ids, *flags)
    assert expected["input"]["sha256"] == sha256_of(rows)
    for name in ("ids.npy", "ids32.npy", "ids.safetensors", "masked.safetensors"):
        report = measure(ONE, "--tokens", tmp_path / name, *flags)
        assert report["input"]["sha256"] == expected["input"]["sha256"], name
        assert report["input"]["file_sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert report["metrics"] == expected["metrics"], name
    piped = measure(ONE, "--tokens", "-", *flags, stdin=ids.read_text())
    assert piped["metrics"] == expected["metrics"] and piped["input"]["sha256"] == expected["input"]["sha256"]


def test_batch_size_and_threads_change_nothing_but_rounding(ids):
    flags = ("--tokens", ids, "--metric", "first_token_mass", "--metric", "attention_entropy", "--metric", "hidden_norm")
    whole = measure(ONE, *flags)
    for more in (("--batch", 1), ("--batch", 5), ("--threads", 1)):
        report = measure(ONE, *flags, *more)
        assert report["input"] == whole["input"]
        for metric in whole["metrics"]:
            assert value(report, metric) == pytest.approx(value(whole, metric), rel=1e-5)
            if metric != "hidden_norm":
                found, expected = (r["metrics"][metric]["per_sequence"] for r in (report, whole))
                np.testing.assert_allclose(found, expected, atol=1e-5)
    assert measure(ONE, *flags, "--threads", 1)["settings"]["threads"] == 1


def test_limit_takes_the_first_sequences_and_shows_in_the_hash(ids, samples, one):
    report = measure(ONE, "--limit", 3, "--metric", "first_token_mass")
    assert report["input"]["sequences"] == 3
    assert report["input"]["sha256"] == sha256_of(samples[:3])
    expected = one["metrics"]["first_token_mass"]["per_sequence"][:3]
    np.testing.assert_allclose(report["metrics"]["first_token_mass"]["per_sequence"], expected, atol=1e-6)
    assert measure(ONE, "--tokens", ids, "--limit", 3, "--metric", "loss")["input"]["sha256"] == sha256_of(samples[:3])


def test_length_crops_and_drops_shorter_sequences_with_a_warning(tmp_path, samples):
    rows = [samples[0], samples[1][:20], samples[2]]
    report = measure(ONE, "--tokens", write_tokens(tmp_path / "t.jsonl", rows), "--length", 32, "--metric", "loss")
    assert report["input"]["sha256"] == sha256_of([samples[0][:32], samples[2][:32]])
    dropped = [w["message"] for w in report["warnings"] if "shorter" in w["message"] or "drop" in w["message"]]
    assert len(dropped) == 1 and "1" in dropped[0]


def test_bos_none_strips_it_an_id_prepends_it_once_and_length_counts_it(ids, samples):
    rows = [row[1:] for row in samples[:12]]
    none = measure(ONE, "--tokens", ids, "--bos", "none", "--metric", "loss")
    assert none["input"]["sha256"] == sha256_of(rows)
    assert none["input"]["bos"] == {"id": START, "policy": "none", "at_position_0": 0, "inside": 0}
    same = measure(ONE, "--tokens", ids, "--bos", START, "--metric", "loss")
    assert same["input"]["sha256"] == sha256_of(samples[:12])
    other = measure(ONE, "--tokens", ids, "--bos", 7, "--length", 10, "--metric", "loss")
    assert other["input"]["sha256"] == sha256_of([[7, *row[:9]] for row in samples[:12]])
    assert other["input"]["bos"]["at_position_0"] == 12


def test_random_tokens_come_from_the_seed_alone(ids):
    def run(*flags):
        return measure(ONE, *flags, "--metric", "first_token_mass")["input"]

    first, again, other = (run("--random-tokens", 4, "--length", 16, "--seed", s) for s in (0, 0, 1))
    assert first["sha256"] == again["sha256"] != other["sha256"]
    assert first == again
    assert (first["source"], first["sequences"], first["length"], first["seed"]) == ("random", 4, {"min": 16, "max": 16}, 0)
    assert run("--random-tokens", 2)["length"] == {"min": 64, "max": 64}
    repeated = run("--repeated-token", 3, "--length", 8, "--seed", 5)
    assert (repeated["source"], repeated["seed"], len(repeated["position_0_ids"])) == ("repeated", 5, 3)
    with_bos = run("--random-tokens", 3, "--length", 8, "--bos", START)
    assert with_bos["position_0_ids"] == {str(START): 3} and with_bos["tokens"] == 24


def test_repeated_tokens_are_one_id_a_sequence_and_no_two_alike_below_the_vocabulary():
    report = measure(ONE, "--repeated-token", 5, "--length", 6, "--vocabulary", 5, "--metric", "sink_rate")
    assert sorted(report["input"]["position_0_ids"]) == list("01234")
    assert report["input"]["vocabulary"] == 5
    assert warning(report, "short_sequences")


def test_layers_and_sites_restrict_what_is_measured(three, ids):
    wanted = three["metrics"]["first_token_mass"]["per_head"]
    for flags, layers in ((("--layers", "1-2"), [1, 2]), (("--layers", "0,2"), [0, 2]), (("--sites", "*.1.*"), [1])):
        report = measure(THREE, *flags, "--metric", "first_token_mass", "--metric", "hidden_norm")
        assert [s["layer"] for s in report["sites"]] == layers
        assert [s["id"] for s in report["sites"]] == list(range(len(layers)))
        np.testing.assert_allclose(report["metrics"]["first_token_mass"]["per_head"], [wanted[i] for i in layers], atol=1e-6)
    message = refused("measure", THREE, "--layers", 7, code=2)
    assert "none of the 3 attention sites" in message


def test_another_number_of_sites_than_expected_is_an_error(ids):
    assert len(measure(THREE, "--expect-sites", 3, "--tokens", ids, "--metric", "first_token_mass")["sites"]) == 3
    message = refused("measure", THREE, "--expect-sites", 4, code=3)
    assert "3 attention sites found" in message and "4" in message


def test_labels_are_copied_into_the_report(ids):
    report = measure(ONE, "--tokens", ids, "--metric", "loss", "--label", "run=a b", "--label", "step=7")
    assert report["labels"] == {"run": "a b", "step": "7"}


def test_arrays_agree_with_the_report(tmp_path, samples):
    report = measure(THREE, "--limit", 5, "--arrays", tmp_path / "a.safetensors")
    arrays = load_file(tmp_path / "a.safetensors")
    assert {name: a.shape for name, a in arrays.items()} == {
        "first_token_mass": (5, 3, 2), "column_mean": (3, 2, 64), "stream_norm": (4, 64)}
    metrics = report["metrics"]
    np.testing.assert_allclose(arrays["first_token_mass"].mean(0), metrics["first_token_mass"]["per_head"], atol=1e-6)
    np.testing.assert_allclose(arrays["first_token_mass"].mean((1, 2)), metrics["first_token_mass"]["per_sequence"], atol=1e-6)
    np.testing.assert_allclose(arrays["column_mean"].sum(-1), 1, atol=1e-4)
    np.testing.assert_allclose(arrays["column_mean"][..., 0], metrics["first_token_mass"]["per_head"], atol=1e-6)
    np.testing.assert_allclose(arrays["column_mean"].max(-1), metrics["dominant_key"]["series"]["mass"]["data"], atol=1e-6)
    norms = metrics["hidden_norm"]["series"]
    np.testing.assert_allclose(arrays["stream_norm"][:, 0], norms["first"]["data"], rtol=1e-5)
    np.testing.assert_allclose(arrays["stream_norm"][:, 1:].mean(1), norms["others"]["data"], rtol=1e-5)


def test_without_flags_the_table_is_the_only_result(ids):
    done = sinkscope("measure", ONE, "--tokens", ids)
    for text in ("first_token_mass", "sink_rate", "uniform", "L0H0"):
        assert text in done.stdout
    assert done.stderr == ""  # no progress and no notes off a terminal
    assert not done.stdout.lstrip().startswith("{")


def test_logits_last_and_none_leave_the_loss_undefined_and_the_rest_alone(ids):
    whole = measure(ONE, "--tokens", ids)
    for kept in ("last", "none"):
        report = measure(ONE, "--tokens", ids, "--logits", kept)
        assert value(report, "loss") is None and "--logits all" in warning(report, "no_loss")
        assert report["metrics"] | {"loss": None} == whole["metrics"] | {"loss": None}
        assert "--logits all" in refused("measure", ONE, "--metric", "loss", "--logits", kept, code=2)


def test_environment_settings_are_used_and_echoed(ids):
    from measuring import environment

    done = sinkscope("measure", ONE, "--tokens", ids, "--metric", "loss", "--json", env=environment(SINKSCOPE_LIMIT="2"))
    assert json.loads(done.stdout)["input"]["sequences"] == 2
    assert "SINKSCOPE_LIMIT=2" in done.stderr
    assert codes(json.loads(done.stdout)) == set()
