"""export_hf.py: what a trace holds at some lengths only, code that a model brings, and what the metadata promise of both."""

import json
import sys

import pytest
import torch
from measuring import BINARY, MEASURES, codes, measure, refused, sinkscope, warning, write_tokens
from safetensors.torch import load_file, save_file
from sinkscope_export.model_file import read_metadata
from sinkscope_export.self_check import cause_of
from support import run_script
from tiny_models import FAMILIES, LAYERS, POSITIONS, VOCABULARY, WIDTH, write_tiny_model

measures = pytest.mark.skipif(not MEASURES, reason="the program is not built")


def export(*arguments, code=0):
    result = run_script("export_hf.py", *arguments)
    assert result.returncode == code, result.stderr
    return result.stderr


def write_config(path, **content):
    path.write_text(json.dumps(content))
    return path


BIG_BIRD = {**FAMILIES["bert"], "model_type": "big_bird", "attention_type": "block_sparse", "block_size": 4,
            "num_random_blocks": 1, "max_position_embeddings": 128}


@pytest.mark.parametrize("flags", [("--graph-only",), ("--random-init",)], ids=["graph", "stored"])
def test_a_model_that_attends_otherwise_from_some_length_on_is_refused(tmp_path, flags):
    """Sparse attention above 28 tokens here, full attention at the length of the trace."""
    config = write_config(tmp_path / "config.json", **BIG_BIRD)
    error = export("--config", config, *flags, "-o", tmp_path / "m.pt", code=3)
    assert "nothing was written" in error
    assert not (tmp_path / "m.pt").exists()


LONG_ROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8,
             "short_mscale": 1.1, "long_mscale": 1.6, "original_max_position_embeddings": 300}


def test_a_model_that_scales_long_positions_otherwise_is_exported_for_short_ones(tmp_path):
    """phimoe chooses a factor in Python; the trace keeps that of short sequences."""
    config = write_config(tmp_path / "config.json", **{
        **FAMILIES["mixtral"], "model_type": "phimoe", "max_position_embeddings": 600, "rope_parameters": LONG_ROPE,
        "input_jitter_noise": 0.0, "router_jitter_noise": 0.0})
    error = export("--config", config, "--random-init", "-o", tmp_path / "m.pt")
    assert "positions beyond 300 are scaled otherwise" in error
    assert read_metadata(tmp_path / "m.pt")["positions"] == 300


@measures
def test_a_position_table_with_a_row_for_padding_has_fewer_positions(tmp_path):
    """RoBERTa's table of 98 rows serves 96 tokens behind padding id 1."""
    model = write_tiny_model(tmp_path / "model", "roberta")
    assert model.config.max_position_embeddings == POSITIONS + 2
    export(tmp_path / "model", "-o", tmp_path / "m.pt")
    assert read_metadata(tmp_path / "m.pt")["positions"] == POSITIONS
    for length, fits in ((POSITIONS, True), (POSITIONS + 1, False)):
        tokens = write_tokens(tmp_path / "t.jsonl", [[5] * length])
        if fits:
            measure(tmp_path / "m.pt", "--tokens", tokens, "--bos", "keep")
        else:
            error = refused("measure", tmp_path / "m.pt", "--tokens", tokens, "--bos", "keep", code=3)
            assert f"{POSITIONS + 1} ids" in error and f"has {POSITIONS} positions" in error
            assert f"the model {POSITIONS} positions" in export(
                tmp_path / "model", "-o", tmp_path / "n.pt", "--tokens", tokens, "--length", POSITIONS + 1, code=2)


OWN_CODE = f"""
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.mark.parametrize("flags", [
    ("--graph-only", "DIR"), ("--graph-only", "--config", "DIR/config.json"), ("--random-init", "--config", "DIR/config.json"),
    ("DIR",)], ids=["graph of a directory", "graph", "random", "stored"])
def test_code_that_a_model_brings_is_run_for_every_kind_of_file(tmp_path, flags):
    write_tiny_model(tmp_path / "model", "llama")
    config = tmp_path / "model" / "config.json"
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | own))
    (tmp_path / "model" / "own.py").write_text(OWN_CODE)
    flags = [flag.replace("DIR", str(tmp_path / "model")) for flag in flags]
    export(*flags, "--trust-remote-code", "-o", tmp_path / "m.pt")
    assert read_metadata(tmp_path / "m.pt")["family"] == "own"
    assert "--trust-remote-code" in export(*flags, "-o", tmp_path / "n.pt", code=3)


PHI3_MAP = {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}


def phi3_with_code(directory):
    """As the family was published: before transformers had it, with code, which leaves a trace when it is run."""
    model = write_tiny_model(directory, "phi3")
    config = directory / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": PHI3_MAP}))
    for name, base in (("configuration", "Phi3Config"), ("modeling", "Phi3ForCausalLM")):
        (directory / f"{name}_phi3.py").write_text(
            f"import transformers\nopen({str(directory.parent / 'ran')!r}, 'w')\nclass {base}(transformers.{base}): pass\n")
    return model


@pytest.mark.parametrize("flags", [("--graph-only", "DIR"), ("--random-init", "--config", "DIR/config.json"), ("DIR",)],
                         ids=["graph", "random", "stored"])
def test_a_family_that_transformers_has_is_exported_without_the_code_it_was_published_with(tmp_path, flags):
    model = phi3_with_code(tmp_path / "model")
    note = export(*(flag.replace("DIR", str(tmp_path / "model")) for flag in flags), "-o", tmp_path / "m.pt")
    assert "config.json names is not run; transformers' own phi3 is used" in note
    assert not (tmp_path / "ran").exists()
    metadata = read_metadata(tmp_path / "m.pt")
    assert metadata["family"] == "phi3" and "auto_map" not in metadata["config"]
    if flags == ("DIR",):
        ids = torch.randint(VOCABULARY, (2, 29), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            assert (torch.jit.load(str(tmp_path / "m.pt"))(ids) - model(ids).logits).abs().max() < 1e-4


def test_trusted_code_is_run_though_transformers_has_the_family(tmp_path):
    phi3_with_code(tmp_path / "model")
    assert "is not run" not in export(tmp_path / "model", "--trust-remote-code", "-o", tmp_path / "m.pt")
    assert (tmp_path / "ran").exists()


def test_weights_that_the_familys_own_class_has_no_place_for_are_refused_where_the_model_brings_code(tmp_path):
    phi3_with_code(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    tensors = load_file(weights) | {"model.layers.0.self_attn.gate.weight": torch.ones(4, WIDTH)}
    save_file(tensors, weights, metadata={"format": "pt"})
    error = export(tmp_path / "model", "-o", tmp_path / "m.pt", code=3)
    assert "transformers' own phi3 has no model.layers.0.self_attn.gate.weight" in error and "--trust-remote-code" in error


@measures
def test_tensors_that_the_family_declares_of_no_use_are_left_out(tmp_path):
    write_tiny_model(tmp_path / "model", "t5")
    export(tmp_path / "model", "-o", tmp_path / "m.pt", "--graph-only")
    name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    assert name in read_metadata(tmp_path / "m.pt")["ignored_tensors"]
    tokens = write_tokens(tmp_path / "t.jsonl", [[5, 6, 7, 8]])
    weights = tmp_path / "model" / "model.safetensors"
    tensors = load_file(weights)
    expected = measure(tmp_path / "m.pt", "--weights", weights, "--tokens", tokens)
    save_file(tensors | {name: torch.zeros(8, 4)}, weights)
    assert measure(tmp_path / "m.pt", "--weights", weights, "--tokens", tokens)["metrics"] == expected["metrics"]
    save_file(tensors | {name.replace(".0.", ".9."): torch.zeros(8, 4)}, weights)
    assert name.replace(".0.", ".9.") in refused("measure", tmp_path / "m.pt", "--weights", weights, "--tokens", tokens, code=3)


def program(path, code):
    """A program in the place of sinkscope."""
    path.write_text(f"#!{sys.executable} -S\n{code}\n")
    path.chmod(0o755)
    return path


@measures
def test_another_number_of_sites_than_the_exporter_counted_is_warned_of(tmp_path, monkeypatch):
    import sinkscope_export.trace as trace

    write_tiny_model(tmp_path / "model", "llama")
    assert "sites was not checked" not in export(tmp_path / "model", "-o", tmp_path / "m.pt")
    assert read_metadata(tmp_path / "m.pt")["attention_sites"] == LAYERS
    tokens = write_tokens(tmp_path / "t.jsonl", [[5, 6, 7, 8]])
    assert "site_count" not in codes(measure(tmp_path / "m.pt", "--tokens", tokens))
    true = trace.attention_sites
    monkeypatch.setattr(trace, "attention_sites", lambda module, inputs: 1 + true(module, inputs))
    monkeypatch.setenv("SINKSCOPE_BINARY", str(tmp_path / "absent"))
    export(tmp_path / "model", "-o", tmp_path / "m.pt")
    message = warning(measure(tmp_path / "m.pt", "--tokens", tokens), "site_count")
    assert message.startswith(f"{LAYERS} attention sites found, {LAYERS + 1} counted when the model was exported")
    assert message.split(".")[0] in sinkscope("inspect", tmp_path / "m.pt").stdout
    assert "site_count" not in codes(measure(tmp_path / "m.pt", "--tokens", tokens, "--expect-sites", LAYERS))


@measures
@pytest.mark.parametrize("flags", [(), ("--graph-only",)], ids=["stored", "graph"])
def test_another_number_of_sites_than_sinkscope_finds_is_an_error_that_names_them(tmp_path, monkeypatch, flags):
    import sinkscope_export.export_model as export_model
    import sinkscope_export.trace as trace

    write_tiny_model(tmp_path / "model", "llama")
    true = trace.attention_sites
    for module in (trace, export_model):  # that of fused and of eager attention
        monkeypatch.setattr(module, "attention_sites", lambda module, inputs: 1 + true(module, inputs))
    monkeypatch.setenv("SINKSCOPE_BINARY", str(BINARY))
    monkeypatch.setenv("SINKSCOPE_EXPECT_SITES", "7")  # of some other file
    error = export(tmp_path / "model", "-o", tmp_path / "m.pt", *flags, code=3)
    sites = ", ".join(f"m.model.layers.{layer}.self_attn" for layer in range(LAYERS))
    finding = (f"sinkscope finds {LAYERS} attention sites, one run of the model has {LAYERS + 1}. Found: {sites}. "
               "Left alone: nothing")
    assert f"note: attention is exported as the family's own (eager): with fused attention {finding}" in error
    assert f"export_hf.py: error: {finding}; nothing was written" in error
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.parametrize(("code", "message"), [
    ("import sys; print('sinkscope: error: m.pt: found no attention', file=sys.stderr); sys.exit(3)",
     "sinkscope cannot measure the file: m.pt: found no attention; nothing was written"),
    ("import sys; print('sinkscope: error: needs sinkscope_torch.so', file=sys.stderr); sys.exit(70)",
     "note: whether sinkscope finds every attention site was not checked: needs sinkscope_torch.so"),
    (None, "note: whether sinkscope finds every attention site was not checked: no program"),
], ids=["refused", "broken", "absent"])
def test_what_the_program_cannot_tell_about_the_sites_is_said(tmp_path, monkeypatch, code, message):
    write_tiny_model(tmp_path / "model", "llama")
    binary = tmp_path / "absent" if code is None else program(tmp_path / "sinkscope", code)
    monkeypatch.setenv("SINKSCOPE_BINARY", str(binary))
    refused = "nothing was written" in message
    error = export(tmp_path / "model", "-o", tmp_path / "m.pt", code=3 if refused else 0)
    assert message in error and error.count("was not checked") == (not refused)
    assert (tmp_path / "m.pt").exists() == (not refused)


@measures
def test_a_stray_tensor_whose_name_ends_like_a_parameter_is_unexpected_and_not_tied(tmp_path):
    write_tiny_model(tmp_path / "model", "llama")
    export(tmp_path / "model", "-o", tmp_path / "m.pt")
    weights = tmp_path / "model" / "model.safetensors"
    save_file(load_file(weights) | {"norm.weight": torch.full((WIDTH,), 7.0)}, weights)
    tokens = write_tokens(tmp_path / "t.jsonl", [[5, 6, VOCABULARY - 1]])
    error = refused("measure", tmp_path / "m.pt", "--weights", weights, "--tokens", tokens, code=3)
    assert "unexpected" in error and "  norm.weight" in error and "tied" not in error


def test_the_cause_of_a_torchscript_error_is_its_last_telling_line():
    traceback = "The following operation failed.\n  _1 = torch.transpose(x, 1, 2)\nRuntimeError: index 3 is out of range\n"
    assert cause_of(RuntimeError(traceback)) == "RuntimeError: index 3 is out of range"
    assert cause_of(RuntimeError("  _1 = torch.transpose(x, 1, 2)\nRuntimeError: \n")) == "_1 = torch.transpose(x, 1, 2)"
    assert cause_of(RuntimeError("")) == "RuntimeError"
