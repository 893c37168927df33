"""export_hf.py: exported files say what the original says, at other shapes, and carry complete metadata."""

import json
import re
import subprocess
import sys

import pytest
import torch
from exporting import export, ids_of
from safetensors.torch import load_file, save_file
from sinkscope_export.model_file import read_metadata
from sinkscope_export.self_check import fill
from sinkscope_export.weight_map import made
from support import SCRIPTS, run_script
from test_train_backcopy import METADATA_KEYS
from tiny_models import POSITIONS, VOCABULARY, write_tiny_model, write_tiny_tokenizer

FAMILIES = ["llama", "gpt2", "gpt_neox", "qwen2", "mistral"]


@pytest.mark.parametrize("attention", ["fused", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_exported_logits_equal_the_original_at_other_batch_sizes_and_lengths(tmp_path, family, attention):
    model = write_tiny_model(tmp_path / "model", family)
    export(tmp_path / "model", tmp_path / "m.pt", "--attention", attention)
    traced = torch.jit.load(str(tmp_path / "m.pt"))
    for batch, length in ((1, 1), (1, 40), (3, 7), (4, POSITIONS)):
        ids = ids_of(batch, length)
        with torch.no_grad():
            expected = model(ids).logits
            assert (traced(ids) - expected).abs().max() < 2e-6 * max(10.0, expected.abs().max()), (batch, length)
    assert read_metadata(tmp_path / "m.pt")["exporter"]["attention"] == attention


def checkpoint_and_graph(tmp_path, family, *flags):
    """A checkpoint's tensors, and the loaded file that was exported from it."""
    model = write_tiny_model(tmp_path / "model", family)
    export(tmp_path / "model", tmp_path / "m.pt", *flags)
    return model, load_file(tmp_path / "model" / "model.safetensors"), torch.jit.load(str(tmp_path / "m.pt"))


@pytest.mark.parametrize("family", ["gpt_neox", "mixtral", "gpt_oss", "deepseek_v3", "bert", "t5", "vit"])
def test_weight_map_makes_every_parameter_from_the_checkpoint(tmp_path, family):
    _, tensors, file = checkpoint_and_graph(tmp_path, family)
    weight_map = read_metadata(tmp_path / "m.pt")["weight_map"]
    parameters = dict(file.named_parameters())
    assert parameters.keys() <= weight_map.keys()  # a tied parameter has one name there and two in the map
    for name, parameter in parameters.items():
        assert torch.equal(parameter, made(weight_map[name], tensors)), name

    def names(recipe):
        return {recipe} if isinstance(recipe, str) else set().union(*map(names, recipe["of"]))

    assert set().union(*map(names, weight_map.values())) == tensors.keys()


def test_weight_map_says_how_experts_are_stacked_and_joined(tmp_path):
    checkpoint_and_graph(tmp_path, "mixtral")
    recipe = read_metadata(tmp_path / "m.pt")["weight_map"]["m.model.layers.0.mlp.experts.gate_up_proj"]
    name = "model.layers.0.block_sparse_moe.experts.{}.{}.weight"
    parts = [{"op": "stack", "dim": 0, "of": [name.format(i, w) for i in range(4)]} for w in ("w1", "w3")]
    assert recipe == {"op": "concat", "dim": 1, "of": parts}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_oss", "bert"])
def test_a_graph_without_weights_holds_one_element_a_parameter_and_no_value_of_the_checkpoint(tmp_path, family):
    model, tensors, file = checkpoint_and_graph(tmp_path, family, "--graph-only")
    metadata = read_metadata(tmp_path / "m.pt")
    assert metadata["parameters"] == "external"
    parameters = dict(file.named_parameters())
    assert all(parameter.untyped_storage().nbytes() == parameter.element_size() for parameter in parameters.values())
    assert all(not any(parameter.stride()) for parameter in parameters.values())
    assert sum(p.numel() for p in parameters.values()) == sum(p.numel() for p in model.parameters())
    assert (tmp_path / "m.pt").stat().st_size < 100_000
    fill(file, metadata["weight_map"], tensors)
    ids = ids_of(3, 40)
    with torch.no_grad():
        assert (file(ids) - model(input_ids=ids).logits).abs().max() < 1e-4


def test_a_graph_needs_no_weights_at_all_and_then_names_what_a_checkpoint_would_hold(tmp_path):
    write_tiny_model(tmp_path / "model", "mixtral")
    export(tmp_path / "model", tmp_path / "with.pt", "--graph-only")
    (tmp_path / "model" / "model.safetensors").unlink()
    export(tmp_path / "model", tmp_path / "without.pt", "--graph-only")
    config = tmp_path / "model" / "config.json"
    result = run_script("export_hf.py", "--graph-only", "--config", config, "-o", tmp_path / "config.pt")
    assert result.returncode == 0, result.stderr
    maps = [read_metadata(tmp_path / f"{name}.pt")["weight_map"] for name in ("with", "without", "config")]
    assert maps[0] == maps[1] == maps[2]


def test_tied_weights_are_stored_once_and_both_names_are_in_the_weight_map(tmp_path):
    write_tiny_model(tmp_path / "model", "qwen2")
    export(tmp_path / "model", tmp_path / "m.pt")
    weight_map = read_metadata(tmp_path / "m.pt")["weight_map"]
    assert weight_map["m.lm_head.weight"] == weight_map["m.model.embed_tokens.weight"] == "model.embed_tokens.weight"
    traced = torch.jit.load(str(tmp_path / "m.pt"))
    assert traced.m.lm_head.weight.data_ptr() == traced.m.model.embed_tokens.weight.data_ptr()


def test_the_configuration_of_a_model_is_not_overwritten_by_its_graph(tmp_path):
    directory = tmp_path / "model"
    write_tiny_model(directory, "llama")
    before = (directory / "config.json").read_bytes()
    result = run_script("export_hf.py", directory, "--graph-only", "-o", directory / "config.json")
    assert result.returncode == 2 and "would overwrite an input" in result.stderr
    assert (directory / "config.json").read_bytes() == before


def test_metadata_and_samples_are_complete(tmp_path):
    directory = tmp_path / "model"
    write_tiny_model(directory, "llama")
    write_tiny_tokenizer(directory)
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over " * 20)
    export(directory, tmp_path / "m.pt", "--text", tmp_path / "text.txt", "--length", 12, "--sequences", 5)
    metadata = read_metadata(tmp_path / "m.pt")
    assert metadata.keys() == METADATA_KEYS | {"attention_sites", "ignored_tensors", "config_defaults", "config_written"}
    assert [len(ids) for ids in metadata["samples"]] == [12] * 5
    assert {ids[0] for ids in metadata["samples"]} == {1}
    assert metadata["config"]["num_key_value_heads"] == 2
    expected = {"format": 1, "family": "llama", "vocabulary": VOCABULARY, "positions": POSITIONS, "dtype": "float32",
                "input": "tokens", "parameters": "stored", "bos": {"id": 1, "added_by_tokenizer": True}}
    assert {key: metadata[key] for key in expected} == expected
    assert (metadata["tokenizer"]["name"], metadata["tokenizer"]["size"]) == ("model", 95)
    assert re.fullmatch("[0-9a-f]{64}", metadata["tokenizer"]["sha256"])


def test_metadata_says_what_absent_keys_of_the_configuration_would_mean(tmp_path):
    write_tiny_model(tmp_path / "model", "llama", rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    export(tmp_path / "model", tmp_path / "m.pt", "--graph-only")
    metadata = read_metadata(tmp_path / "m.pt")
    defaults = metadata["config_defaults"]
    assert defaults["rope_parameters"]["rope_theta"] == 10000.0
    assert defaults["num_hidden_layers"] == 32
    # The same for every model of the family, and what follows from other keys.
    assert not defaults.keys() & {"rms_norm_eps", "hidden_act", "head_dim", "layer_types"}
    assert all(metadata["config"][key] != value for key, value in defaults.items())
    assert "rope_parameters" not in metadata["config_written"]
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"head_dim": None}))  # the library computes it
    export(tmp_path / "model", tmp_path / "m.pt", "--graph-only")
    assert read_metadata(tmp_path / "m.pt")["config_written"]["head_dim"] is None


def test_files_hold_no_path_of_the_machine_that_exported_them(tmp_path):
    write_tiny_model(tmp_path / "model", "gpt2")
    export(tmp_path / "model", tmp_path / "m.pt")
    content = (tmp_path / "m.pt").read_bytes()
    for path in (tmp_path, torch.__path__[0]):
        assert str(path).encode() not in content


def test_token_files_become_samples_cropped_and_limited(tmp_path):
    write_tiny_model(tmp_path / "model", "gpt2")
    tokens = tmp_path / "t.jsonl"
    tokens.write_text('[1,2,3,4]\n{"ids": [5,6,7]}\n{"input_ids": [8,9], "attention_mask": [1,1]}\n[10]\n')
    export(tmp_path / "model", tmp_path / "m.pt", "--tokens", tokens, "--length", 3, "--sequences", 3)
    assert read_metadata(tmp_path / "m.pt")["samples"] == [[1, 2, 3], [5, 6, 7], [8, 9]]


def test_code_of_the_model_directory_is_not_run_unless_asked(tmp_path):
    write_tiny_model(tmp_path / "model", "llama")
    config = tmp_path / "model" / "config.json"
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | own))
    (tmp_path / "model" / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    result = run_script("export_hf.py", tmp_path / "model", "-o", tmp_path / "m.pt")
    assert result.returncode == 3
    assert "--trust-remote-code" in result.stderr
    assert not (tmp_path / "ran").exists()


def test_help_and_usage_errors_import_neither_torch_nor_transformers():
    code = "import runpy, sys; sys.argv = ['export_hf.py', *sys.argv[1:]]\n" \
           "try: runpy.run_path(SCRIPT, run_name='__main__')\nexcept SystemExit: print('torch' in sys.modules)"
    for flags in (["--help"], ["-o", "m.pt"]):
        done = subprocess.run([sys.executable, "-c", code.replace("SCRIPT", repr(str(SCRIPTS / "export_hf.py"))), *flags],
                              capture_output=True, text=True, env={"PYTHONPATH": str(SCRIPTS)})
        assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_dtype_is_the_checkpoints_unless_asked_otherwise(tmp_path):
    write_tiny_model(tmp_path / "model", "llama", dtype=torch.bfloat16)
    export(tmp_path / "model", tmp_path / "kept.pt")
    export(tmp_path / "model", tmp_path / "cast.pt", "--dtype", "float32")
    for name, dtype in (("kept", torch.bfloat16), ("cast", torch.float32)):
        traced = torch.jit.load(str(tmp_path / f"{name}.pt"))
        assert {parameter.dtype for parameter in traced.parameters()} == {dtype}
        assert read_metadata(tmp_path / f"{name}.pt")["dtype"] == str(dtype).removeprefix("torch.")


def test_random_initialisation_needs_only_a_configuration(tmp_path):
    write_tiny_model(tmp_path / "model", "llama")
    flags = ("--random-init", "--config", tmp_path / "model" / "config.json", "-o", tmp_path / "m.pt")
    result = run_script("export_hf.py", *flags)
    assert result.returncode == 0, result.stderr
    assert torch.jit.load(str(tmp_path / "m.pt"))(ids_of(1, 5)).shape == (1, 5, VOCABULARY)
    assert read_metadata(tmp_path / "m.pt")["weight_map"]["m.model.norm.weight"] == "model.norm.weight"


def damage(directory, how):
    """Makes a directory unusable in one way."""
    weights = directory / "model.safetensors"
    if how == "no weights":
        weights.unlink()
    elif how == "no config":
        (directory / "config.json").unlink()
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:500])
    elif how == "missing tensor":
        tensors = load_file(weights)
        del tensors["model.norm.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
    elif how == "misshapen":
        tensors = load_file(weights)
        tensors["model.norm.weight"] = torch.ones(3)
        save_file(tensors, weights, metadata={"format": "pt"})
    else:
        config = json.loads((directory / "config.json").read_text())
        config |= {"quantization_config": {"quant_method": "fp8"}} if how == "quantised" else {"model_type": "vapour"}
        (directory / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no weights", "has no model.safetensors"),
        ("no config", "has no config.json"),
        ("truncated", "cannot be loaded|not a safetensors file"),
        ("missing tensor", "lack model.norm.weight"),
        ("misshapen", "cannot be loaded"),
        ("quantised", "quantised"),
        ("unknown family", "vapour"),
    ],
)
def test_an_unusable_directory_is_one_message_and_exit_code_3(tmp_path, how, message):
    write_tiny_model(tmp_path / "model", "llama")
    damage(tmp_path / "model", how)
    result = run_script("export_hf.py", tmp_path / "model", "-o", tmp_path / "m.pt")
    assert result.returncode == 3, result.stderr
    assert re.search(message, result.stderr)
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "m.pt").exists()


def test_flags_that_contradict_each_other_are_usage_errors(tmp_path):
    for flags in (
        [], ["--random-init"], [tmp_path, "--random-init", "--config", "c.json"],
        [tmp_path, "--text", "a.txt", "--tokens", "b.jsonl"], [tmp_path, "--attention", "flash"], ["--config", "c.json"],
        [tmp_path, "--graph-only", "--config", "c.json"], ["--random-init", "--graph-only", "--config", "c.json"],
    ):
        assert run_script("export_hf.py", *flags, "-o", tmp_path / "m.pt").returncode == 2
    assert run_script("export_hf.py", tmp_path / "absent", "-o", tmp_path / "m.pt").returncode == 3


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [("[1, 97]", 3, "has id 97, the model's vocabulary is 97"), ("[1, -2]", 3, "t.jsonl:1: not a list of token ids"),
     ("[1, 2.5]", 3, "t.jsonl:1"), ("[]", 3, "t.jsonl:1"), ("{", 3, "t.jsonl:1: not JSON")],
)
def test_unusable_sample_tokens_are_refused_by_line(tmp_path, line, code, message):
    write_tiny_model(tmp_path / "model", "llama")
    (tmp_path / "t.jsonl").write_text(line + "\n")
    result = run_script("export_hf.py", tmp_path / "model", "-o", tmp_path / "m.pt", "--tokens", tmp_path / "t.jsonl")
    assert result.returncode == code
    assert message in result.stderr
