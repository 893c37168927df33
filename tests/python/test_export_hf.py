"""export_hf.py: exported files say what the original says, at other shapes, and carry complete metadata."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from sinkscope_export.model_file import read_metadata
from support import run_script
from test_train_backcopy import METADATA_KEYS
from tiny_models import LAYERS, POSITIONS, VOCABULARY, WINDOW, write_tiny_model, write_tiny_tokenizer

FAMILIES = ["llama", "gpt2", "gpt_neox", "qwen2", "mistral"]


def export(directory, output, *flags):
    result = run_script("export_hf.py", directory, "-o", output, *flags)
    assert result.returncode == 0, result.stderr
    return result


def ids_of(batch, length):
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


def sdpa_nodes(path):
    """(mask is None, is_causal, enable_gqa) of each fused attention node of a model file."""
    graph = torch.jit.load(str(path)).inlined_graph  # kept: nodes die with their graph
    nodes = graph.findAllNodes("aten::scaled_dot_product_attention", recurse=True)
    return [
        (node.inputsAt(3).type().kind() == "NoneType", node.inputsAt(5).toIValue(), node.inputsAt(7).toIValue())
        for node in nodes
    ]


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


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_attention_is_one_causal_node_per_layer_without_a_mask(tmp_path, family):
    write_tiny_model(tmp_path / "model", family)
    export(tmp_path / "model", tmp_path / "m.pt")
    grouped = family in ("llama", "qwen2", "mistral")  # their tiny models have 4 query heads for 2 KV heads
    assert sdpa_nodes(tmp_path / "m.pt") == [(True, True, grouped)] * LAYERS


@pytest.mark.parametrize("family", FAMILIES)
def test_weight_map_rebuilds_every_parameter_from_the_checkpoint(tmp_path, family):
    write_tiny_model(tmp_path / "model", family)
    export(tmp_path / "model", tmp_path / "m.pt")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    weight_map = read_metadata(tmp_path / "m.pt")["weight_map"]
    parameters = dict(torch.jit.load(str(tmp_path / "m.pt")).named_parameters())
    assert parameters.keys() <= weight_map.keys()  # a tied parameter has one name there and two in the map
    assert set(weight_map.values()) == tensors.keys()
    for name, parameter in parameters.items():
        assert torch.equal(parameter, tensors[weight_map[name]]), name


def test_tied_weights_are_stored_once_and_both_names_are_in_the_weight_map(tmp_path):
    write_tiny_model(tmp_path / "model", "qwen2")
    export(tmp_path / "model", tmp_path / "m.pt")
    weight_map = read_metadata(tmp_path / "m.pt")["weight_map"]
    assert weight_map["m.lm_head.weight"] == weight_map["m.model.embed_tokens.weight"] == "model.embed_tokens.weight"
    traced = torch.jit.load(str(tmp_path / "m.pt"))
    assert traced.m.lm_head.weight.data_ptr() == traced.m.model.embed_tokens.weight.data_ptr()


def test_metadata_and_samples_are_complete(tmp_path):
    directory = tmp_path / "model"
    write_tiny_model(directory, "llama")
    write_tiny_tokenizer(directory)
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over " * 20)
    export(directory, tmp_path / "m.pt", "--text", tmp_path / "text.txt", "--length", 12, "--sequences", 5)
    metadata = read_metadata(tmp_path / "m.pt")
    assert metadata.keys() == METADATA_KEYS
    assert [len(ids) for ids in metadata["samples"]] == [12] * 5
    assert {ids[0] for ids in metadata["samples"]} == {1}
    assert metadata["config"]["num_key_value_heads"] == 2
    expected = {"format": 1, "family": "llama", "vocabulary": VOCABULARY, "positions": POSITIONS, "dtype": "float32",
                "input": "tokens", "parameters": "stored", "bos": {"id": 1, "added_by_tokenizer": True}}
    assert {key: metadata[key] for key in expected} == expected
    assert (metadata["tokenizer"]["name"], metadata["tokenizer"]["size"]) == ("model", 95)
    assert re.fullmatch("[0-9a-f]{64}", metadata["tokenizer"]["sha256"])


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


@pytest.mark.parametrize(
    ("family", "overrides", "reason"),
    [
        ("mistral", {"sliding_window": WINDOW}, "a window or chunk of 16 keys"),
        ("gemma2", {}, "a window or chunk of 16 keys"),
        ("gemma2", {"sliding_window": POSITIONS}, "a soft cap of 2.0"),
    ],
)
def test_what_fused_attention_cannot_say_is_exported_eager_and_said(tmp_path, family, overrides, reason):
    model = write_tiny_model(tmp_path / "model", family, **overrides)
    result = export(tmp_path / "model", tmp_path / "m.pt")
    assert reason in result.stderr
    traced = torch.jit.load(str(tmp_path / "m.pt"))
    assert not sdpa_nodes(tmp_path / "m.pt")
    ids = ids_of(2, 57)  # longer than the window
    with torch.no_grad():
        assert (traced(ids) - model(ids).logits).abs().max() < 1e-5


def test_a_window_as_long_as_the_positions_hides_nothing_and_stays_fused(tmp_path):
    write_tiny_model(tmp_path / "model", "mistral", sliding_window=POSITIONS)
    export(tmp_path / "model", tmp_path / "m.pt")
    assert len(sdpa_nodes(tmp_path / "m.pt")) == LAYERS


def test_the_scale_of_each_layer_is_kept(tmp_path):
    model = write_tiny_model(tmp_path / "model", "gpt2", scale_attn_by_inverse_layer_idx=True)
    export(tmp_path / "model", tmp_path / "m.pt")
    ids = ids_of(2, 33)
    with torch.no_grad():
        assert (torch.jit.load(str(tmp_path / "m.pt"))(ids) - model(ids).logits).abs().max() < 1e-5


def test_the_self_check_prints_two_shapes_and_their_errors(tmp_path):
    write_tiny_model(tmp_path / "model", "mistral", sliding_window=WINDOW)
    result = export(tmp_path / "model", tmp_path / "m.pt")
    lengths = re.findall(r"self-check, batch (\d+), length (\d+): logits differ by [0-9.e+-]+ from the original", result.stderr)
    assert len(lengths) == 2
    assert max(int(length) for _, length in lengths) > WINDOW


def test_a_failing_self_check_writes_nothing(tmp_path, monkeypatch):
    import sinkscope_export.trace

    write_tiny_model(tmp_path / "model", "llama")
    monkeypatch.setattr(sinkscope_export.trace, "FLOAT32_TOLERANCE", 0.0)
    result = run_script("export_hf.py", tmp_path / "model", "-o", tmp_path / "m.pt")
    assert result.returncode == 3
    assert "nothing was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


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
        [tmp_path, "--text", "a.txt", "--tokens", "b.jsonl"], [tmp_path, "--attention", "flash"],
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
