"""train_backcopy.py: the task's data, a short training, and the demo models that are shipped."""

import hashlib
import json

import numpy as np
import pytest
import torch
from backcopy.model import BackcopyModel, first_token_mass, next_token_losses
from backcopy.task import START, VOCABULARY, BackcopyTask, count_pairs
from safetensors.torch import load_file
from sinkscope_export.model_file import read_metadata
from support import DEMO, run_script, run_script_apart

METADATA_KEYS = {
    "format", "family", "config", "vocabulary", "positions", "dtype", "input", "bos", "tokenizer", "samples", "weight_map",
    "parameters", "exporter",
}


@pytest.fixture(scope="module")
def task():
    return BackcopyTask.from_file(DEMO / "tinyshakespeare_pairs.json")


def read_log(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_triggers_are_the_space_e_and_t_of_the_paper(task):
    assert task.triggers == [1, 43, 58]


def test_shipped_pair_counts_are_those_of_the_text(shared):
    shipped = json.loads((DEMO / "tinyshakespeare_pairs.json").read_text())
    path = shared / "data/corpora/tinyshakespeare.txt"
    assert count_pairs(path.read_text()) == {"alphabet": shipped["alphabet"], "counts": shipped["counts"]}
    assert shipped["text_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_sequences_begin_with_the_start_token_and_triggers_copy_the_token_before_them(task):
    ids = task.sample(np.random.default_rng(0), 200, 64)
    assert (ids[:, 0] == START).all()
    assert not task.is_trigger[ids[:, 1]].any()
    rows, columns = np.nonzero(task.is_trigger[ids[:, :-1]])
    assert (ids[rows, columns + 1] == ids[rows, columns - 1]).all()
    assert ids[:, 1:].max() < START


def test_simulation_gives_the_oracle_entropy_and_trigger_share_of_the_specification(task):
    ids = task.sample(np.random.default_rng(0), 2000, 256)
    assert task.oracle_bigram_loss(ids) == pytest.approx(2.2257, abs=0.006)
    assert task.is_trigger[ids].mean() == pytest.approx(0.2548, abs=0.003)


def test_fused_forward_agrees_with_the_materialised_probabilities():
    torch.manual_seed(0)
    model = BackcopyModel(VOCABULARY, 32, 16, layers=1, heads=2)
    attention = model.blocks[0].attention
    x = torch.randn(3, 20, 16)
    value = attention.split(attention.value(x)).double()
    mixed = (attention.probabilities(x) @ value).transpose(1, 2).flatten(2)
    expected = mixed @ attention.output.weight.double().T
    assert (attention(x) - expected).abs().max() < 1e-6


def test_hundred_steps_see_the_loss_fall_and_write_everything(tmp_path):
    output = tmp_path / "short.pt"
    result = run_script_apart(
        "train_backcopy.py", "--steps", 100, "--log-every", 50, "--width", 32, "--threads", 1, "--checkpoints",
        "-o", output
    )
    assert result.returncode == 0, result.stderr
    log = read_log(tmp_path / "short.log.jsonl")
    assert [row["step"] for row in log] == [0, 50, 100]
    assert log[2]["bigram_loss"] < log[1]["bigram_loss"] < log[0]["bigram_loss"]
    assert log[0]["oracle_bigram_loss"] < log[2]["bigram_loss"]

    traced = torch.jit.load(str(output))
    parameters = dict(traced.named_parameters())
    last = load_file(tmp_path / "short" / "step100.safetensors")
    assert sorted(p.name for p in (tmp_path / "short").iterdir()) == [f"step{n}.safetensors" for n in (0, 100, 50)]
    assert parameters.keys() == last.keys() == read_metadata(output)["weight_map"].keys()
    assert all(torch.equal(parameters[name], last[name]) for name in last)
    assert traced(torch.zeros(5, 77, dtype=torch.int64)).shape == (5, 77, VOCABULARY)


def test_one_seed_gives_the_same_bytes_twice_and_another_seed_others(tmp_path):
    files = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        output = tmp_path / folder / "model.pt"
        result = run_script_apart("train_backcopy.py", "--steps", 5, "--width", 16, "--threads", 1, "--seed", seed,
                                  "-o", output)
        assert result.returncode == 0, result.stderr
        files.append(output.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert str(tmp_path).encode() not in files[0]


def test_flags_that_make_no_sense_are_usage_errors():
    for flags in ([], ["--width", 10, "--heads", 3, "-o", "x.pt"], ["--steps", 0, "-o", "x.pt"]):
        assert run_script("train_backcopy.py", *flags).returncode == 2


def test_other_texts_and_other_files_than_pair_counts_are_refused(tmp_path):
    (tmp_path / "text.txt").write_text("abc")
    result = run_script("train_backcopy.py", "--count-pairs", tmp_path / "text.txt", "--pairs", tmp_path / "pairs.json")
    assert (result.returncode, "3 different characters" in result.stderr) == (2, True)
    result = run_script_apart("train_backcopy.py", "--pairs", tmp_path / "text.txt", "-o", tmp_path / "x.pt")
    assert (result.returncode, "not a file of 65 x 65 pair counts" in result.stderr) == (3, True)


def load_demo(name):
    """The shipped model rebuilt as a plain module, its samples [N, T] and its training log."""
    metadata = read_metadata(DEMO / f"{name}.pt")
    config = metadata["config"]
    model = BackcopyModel(
        config["vocab_size"], config["max_position_embeddings"], config["hidden_size"], config["num_hidden_layers"],
        config["num_attention_heads"],
    )
    traced = torch.jit.load(str(DEMO / f"{name}.pt"))
    model.load_state_dict(dict(traced.named_parameters()))
    return model.eval(), traced, metadata, read_log(DEMO / f"{name}.log.jsonl")


@pytest.mark.parametrize("name", ["backcopy_1layer", "backcopy_3layer"])
def test_shipped_model_gives_on_its_samples_what_training_logged(name):
    model, traced, metadata, log = load_demo(name)
    samples = torch.tensor(metadata["samples"])
    assert samples.shape == (64, 64)
    assert (samples[:, 0] == metadata["bos"]["id"]).all()
    assert metadata.keys() == METADATA_KEYS
    with torch.no_grad():
        assert (traced(samples) - model(samples)).abs().max() < 1e-4
    mass = first_token_mass(model, samples)
    last = log[-1]
    assert mass.mean(0).tolist() == [pytest.approx(layer, abs=1e-5) for layer in last["first_token_mass"]]
    assert (mass > 0.3).double().mean(0).tolist() == [pytest.approx(layer, abs=0.02) for layer in last["sink_rate"]]
    assert next_token_losses(model, samples).mean().item() == pytest.approx(last["sample_loss"], abs=1e-4)


def test_the_one_layer_demo_grows_its_sink_over_nine_checkpoints():
    model, _, metadata, log = load_demo("backcopy_1layer")
    samples = torch.tensor(metadata["samples"])
    masses = []
    for row in log:
        model.load_state_dict(load_file(DEMO / "backcopy_1layer" / f"step{row['step']}.safetensors"))
        mass = first_token_mass(model, samples)
        assert mass.mean().item() == pytest.approx(row["first_token_mass"][0][0], abs=1e-5)
        masses.append(mass.mean().item())
    assert [row["step"] for row in log] == list(range(0, 1601, 200))
    assert masses[0] < 0.1 and masses[1] > 0.3 and min(masses[4:]) > 0.55
    assert log[-1]["backcopy_loss"] < 0.01
    assert log[-1]["bigram_loss"] - log[-1]["oracle_bigram_loss"] < 0.02


def test_the_three_layer_demo_has_one_sink_head_beside_one_that_is_none():
    log = read_log(DEMO / "backcopy_3layer.log.jsonl")
    sink, neighbour = log[-1]["first_token_mass"][1]
    assert sink > 0.55 and log[-1]["sink_rate"][1][0] == 1.0
    assert neighbour < 0.2 and log[-1]["sink_rate"][1][1] == 0.0


def test_the_demo_folder_stays_below_fourteen_megabytes():
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 14e6
