"""configs/graphs/: the graphs that ship are those that make_graphs.py makes, of the sizes that their authors published."""

import json
import re

import make_graphs
import pytest
import torch
from measuring import MEASURES, refused, write_tokens
from public_configs import PUBLIC
from safetensors.torch import save_file
from sinkscope_export import operators  # noqa: F401  registers what the graphs use
from sinkscope_export.model_file import read_metadata
from support import run_script

# Distinct parameters, as the models' cards and papers count them.
PUBLISHED = {
    "gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080, "gpt2-xl": 1_557_611_200,
    "pythia-70m": 70_426_624, "pythia-160m": 162_322_944, "pythia-410m": 405_334_016, "pythia-1b": 1_011_781_632,
    "pythia-1.4b": 1_414_647_808, "pythia-2.8b": 2_775_208_960, "pythia-6.9b": 6_857_302_016, "pythia-12b": 11_846_072_320,
    "llama-3.2-1b": 1_235_814_400, "llama-3.2-3b": 3_212_749_824, "llama-3.1-8b": 8_030_261_248,
    "qwen2.5-0.5b": 494_032_768, "qwen2.5-1.5b": 1_543_714_304, "qwen2.5-3b": 3_085_938_688, "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664, "qwen3-0.6b": 596_049_920, "qwen3-1.7b": 1_720_574_976, "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360, "qwen3-14b": 14_768_307_200,
    "mistral-7b-v0.1": 7_241_732_096, "mistral-7b-v0.3": 7_248_023_552,
    "olmo2-1b": 1_484_916_736, "olmo2-7b": 7_298_617_344, "olmo2-13b": 13_716_198_400,
}


def graph_text(path):
    """The graph with everything inlined, without the counters that depend on what else the process traced."""
    text = str(torch.jit.load(str(path)).inlined_graph)
    return re.sub(r" #.*|\.___torch_mangle_\d+", "", text)  # the comments name places in the generated code


@pytest.mark.parametrize("name", make_graphs.GRAPHS)
def test_every_graph_is_small_complete_and_of_the_published_size(name):
    path = make_graphs.OUTPUT / f"{name}.pt"
    assert path.stat().st_size < 1_000_000
    metadata = read_metadata(path)
    assert (metadata["parameters"], metadata["dtype"], metadata["samples"]) == ("external", "bfloat16", [])
    assert metadata["bos"]["added_by_tokenizer"] is None  # no tokenizer was there to tell
    parameters = dict(torch.jit.load(str(path)).named_parameters())
    assert sum(parameter.numel() for parameter in parameters.values()) == PUBLISHED[name]
    assert parameters.keys() <= metadata["weight_map"].keys()
    for key, value in make_graphs.GRAPHS[name][1].items():
        if key not in ("rope_theta", "rope_scaling", "rotary_pct", "rotary_emb_base"):  # these have other names today
            assert metadata["config"][key] == value


def test_a_graph_made_again_is_the_one_that_ships(tmp_path):
    result = run_script("make_graphs.py", "pythia-70m", "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    new, old = tmp_path / "pythia-70m.pt", make_graphs.OUTPUT / "pythia-70m.pt"
    assert read_metadata(new) == read_metadata(old)
    assert graph_text(new) == graph_text(old)


def test_the_documentation_names_every_graph():
    text = (make_graphs.OUTPUT.parents[1] / "docs" / "export.md").read_text()
    assert all(f"`{name}`" in text for name in make_graphs.GRAPHS)
    assert {path.stem for path in make_graphs.OUTPUT.glob("*.pt")} == set(make_graphs.GRAPHS)


def test_an_unknown_name_is_a_usage_error(tmp_path):
    result = run_script("make_graphs.py", "gpt5", "-o", tmp_path)
    assert result.returncode == 2
    assert "no graph named gpt5" in result.stderr


@pytest.mark.skipif(not MEASURES, reason="the program is not built")
@pytest.mark.parametrize("name", PUBLIC)
def test_a_graph_takes_the_public_configuration_of_its_own_model_and_no_other(name, tmp_path):
    """The refusal is about the tensors, which are not there; the configuration beside them is read first."""
    save_file({"none.of.the.model": torch.zeros(1)}, tmp_path / "model.safetensors")
    tokens = write_tokens(tmp_path / "t.jsonl", [[1, 2, 3]])
    arguments = ("measure", make_graphs.OUTPUT / f"{name}.pt", "--weights", tmp_path, "--tokens", tokens)
    # As its authors published it, and as fine-tuning with today's library writes it.
    for config in (PUBLIC[name], read_metadata(make_graphs.OUTPUT / f"{name}.pt")["config"]):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert "the tensors do not fit the model" in refused(*arguments, code=3)
    other = next(config for model, config in PUBLIC.items() if model != name and config["model_type"] != PUBLIC[name]["model_type"])
    (tmp_path / "config.json").write_text(json.dumps(other))
    assert "is of another computation" in refused(*arguments, code=3)
