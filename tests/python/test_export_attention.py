"""export_hf.py: how attention stands in the exported graph, and that whatever it would lose there is found out."""

import re

import pytest
import torch
from exporting import export, ids_of
from sinkscope_export import fused_attention, operators
from sinkscope_export.model_file import read_metadata
from support import run_script
from tiny_models import LAYERS, POSITIONS, WINDOW, write_tiny_model


def fused_nodes(path):
    """(window, chunk, soft cap, has sinks) of each `sinkscope::fused_attention` node of a model file."""
    graph = torch.jit.load(str(path)).inlined_graph
    nodes = graph.findAllNodes("sinkscope::fused_attention", recurse=True)
    return [(*(n.inputsAt(i).toIValue() for i in (4, 5, 6)), n.inputsAt(7).type().kind() != "NoneType") for n in nodes]


def sdpa_nodes(path):
    """(mask is None, is_causal, enable_gqa) of each fused attention node of a model file."""
    graph = torch.jit.load(str(path)).inlined_graph  # kept: nodes die with their graph
    nodes = graph.findAllNodes("aten::scaled_dot_product_attention", recurse=True)
    return [
        (node.inputsAt(3).type().kind() == "NoneType", node.inputsAt(5).toIValue(), node.inputsAt(7).toIValue())
        for node in nodes
    ]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "qwen2"])
def test_plain_causal_attention_is_one_node_per_layer_without_a_mask(tmp_path, family):
    write_tiny_model(tmp_path / "model", family)
    export(tmp_path / "model", tmp_path / "m.pt")
    grouped = family in ("llama", "qwen2")  # their tiny models have 4 query heads for 2 KV heads
    assert sdpa_nodes(tmp_path / "m.pt") == [(True, True, grouped)] * LAYERS
    assert not fused_nodes(tmp_path / "m.pt")
    assert "operators" not in read_metadata(tmp_path / "m.pt")["exporter"]


def test_the_attention_of_an_encoder_is_full(tmp_path):
    write_tiny_model(tmp_path / "model", "bert")
    export(tmp_path / "model", tmp_path / "m.pt")
    assert sdpa_nodes(tmp_path / "m.pt") == [(True, False, False)] * LAYERS


@pytest.mark.parametrize(
    ("family", "nodes"),
    [
        ("mistral", [(WINDOW, 0, 0.0, False)] * LAYERS),
        ("gemma2", [(WINDOW, 0, 2.0, False), (0, 0, 2.0, False)]),
        ("gpt_oss", [(WINDOW, 0, 0.0, True), (0, 0, 0.0, True)]),
        ("llama4_text", [(0, WINDOW, 0.0, False)]),  # its other layer sees everything
    ],
)
def test_windows_chunks_soft_caps_and_learned_sinks_are_arguments_of_the_fused_operator(tmp_path, family, nodes):
    model = write_tiny_model(tmp_path / "model", family)
    export(tmp_path / "model", tmp_path / "m.pt")
    assert fused_nodes(tmp_path / "m.pt") == nodes
    assert len(sdpa_nodes(tmp_path / "m.pt")) == LAYERS - len(nodes)
    assert read_metadata(tmp_path / "m.pt")["exporter"]["operators"] == 1
    ids = ids_of(2, 57)  # longer than the window or chunk
    with torch.no_grad():
        assert (torch.jit.load(str(tmp_path / "m.pt"))(ids) - model(ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("family", "reason"),
    [("gptj", "does not go through transformers' attention interface"), ("t5", "the attention argument position_bias")],
)
def test_what_fused_attention_cannot_say_is_exported_eager_and_said(tmp_path, family, reason):
    write_tiny_model(tmp_path / "model", family)
    result = export(tmp_path / "model", tmp_path / "m.pt")
    assert reason in result.stderr
    assert not sdpa_nodes(tmp_path / "m.pt") and not fused_nodes(tmp_path / "m.pt")
    assert read_metadata(tmp_path / "m.pt")["exporter"]["attention"] == "eager"


@pytest.mark.parametrize(
    ("mask_function", "size", "rule"),
    [
        (lambda b, h, q, k: k <= q, None, fused_attention.MaskRule()),
        (lambda b, h, q, k: q >= 0, None, fused_attention.MaskRule(causal=False)),
        (lambda b, h, q, k: (k <= q) & (k > q - 4096), 4096, fused_attention.MaskRule(window=4096)),
        (lambda b, h, q, k: (k <= q) & (q // 8192 == k // 8192), 8192, fused_attention.MaskRule(chunk=8192)),
        (lambda b, h, q, k: (q - k).abs() <= 16, 16, None),
        (lambda b, h, q, k: (k <= q) | (k < 4), None, None),
        (lambda b, h, q, k: torch.ones(11, 11, dtype=torch.bool)[q, k], 64, None),
    ],
    ids=["causal", "full", "window", "chunk", "two-sided window", "prefix", "of this length only"],
)
def test_masks_are_known_by_what_they_show_far_beyond_the_traced_length(mask_function, size, rule):
    if rule is not None:
        assert fused_attention.rule_of(mask_function, size, 11) == rule
    else:
        with pytest.raises(fused_attention.Inexpressible):
            fused_attention.rule_of(mask_function, size, 11)


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


def test_the_self_check_prints_two_shapes_and_their_errors_and_a_long_one_of_the_twin(tmp_path):
    write_tiny_model(tmp_path / "model", "mistral")
    result = export(tmp_path / "model", tmp_path / "m.pt")
    for subject, long in (("a small random twin", [POSITIONS]), ("the file", [])):
        pattern = rf"self-check of {subject}, batch (\d+), length (\d+): logits differ by [0-9.e+-]+ from the original"
        lengths = [int(length) for _, length in re.findall(pattern, result.stderr)]
        assert len(lengths[:2]) == 2 and max(lengths[:2]) > WINDOW
        assert lengths[2:] == long


@pytest.mark.parametrize(
    ("family", "lost"),
    [("mistral", {"window": 0}), ("gemma2", {"softcap": 0.0}), ("gpt_oss", {"sinks": None}), ("llama4_text", {"chunk": 0})],
)
@pytest.mark.parametrize("flags", [(), ("--graph-only",)], ids=["stored", "graph"])
def test_an_export_that_loses_a_feature_is_found_out_and_made_with_the_familys_own_attention(
    tmp_path, monkeypatch, family, lost, flags
):
    # The library's own small weights, with which most of these losses are invisible in the file itself.
    write_tiny_model(tmp_path / "model", family, initializer_range=0.02, sliding_window=POSITIONS - 1,
                     **({"attention_chunk_size": POSITIONS - 1} if family == "llama4_text" else {}))
    true = operators.fused_attention

    def forgetful(query, key, value, scale, window, chunk, softcap, sinks):
        arguments = {"scale": scale, "window": window, "chunk": chunk, "softcap": softcap, "sinks": sinks} | lost
        return true(query, key, value, **arguments)

    monkeypatch.setattr(operators, "fused_attention", forgetful)
    result = run_script("export_hf.py", tmp_path / "model", "-o", tmp_path / "m.pt", *flags)
    assert result.returncode == 0, result.stderr
    assert "note: attention is exported as the family's own (eager): with fused attention the exported model" in result.stderr
    assert read_metadata(tmp_path / "m.pt")["exporter"]["attention"] == "eager"
    assert not fused_nodes(tmp_path / "m.pt")


def test_another_number_of_attention_sites_is_found_out(tmp_path, monkeypatch):
    import sinkscope_export.self_check as check

    write_tiny_model(tmp_path / "model", "llama")
    counts = iter([LAYERS - 1, LAYERS] * 2)  # fused, then eager
    monkeypatch.setattr(check, "attention_sites", lambda module, inputs: next(counts))
    result = run_script("export_hf.py", tmp_path / "model", "-o", tmp_path / "m.pt")
    assert result.returncode == 3
    assert f"has {LAYERS - 1} attention sites, the original {LAYERS}; nothing was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "t5", "vit", "gpt_neo"])
def test_attention_sites_are_counted_without_routers(family):
    from sinkscope_export.count_attention import attention_sites
    from sinkscope_export.families import Wrapped, random_inputs, task_of
    from tiny_models import tiny_model

    model = tiny_model(family)
    task = task_of(model.config)
    expected = 3 * LAYERS if family == "t5" else LAYERS
    assert attention_sites(Wrapped(model, task.call), random_inputs(model.config, task, 2, 13)) == expected
