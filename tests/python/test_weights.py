"""Graph-only models and --weights: the same numbers as the stored model, from whatever files the tensors come."""

import json

import pytest
import torch
from graph_only import hollow, tensors_of, write_pair
from measuring import MEASURES, measure, refused, sinkscope, write_tokens
from safetensors.torch import load_file, save_file
from torch import nn
from toys import Sdpa, Toy, ids_of, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


class Tied(Toy):
    def __init__(self, *cores):
        super().__init__(*cores)
        self.head.weight = self.embedding.weight


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def tokens(folder):
    return write_tokens(folder / "t.jsonl", ids_of(3, 20).tolist())


@pytest.fixture(scope="module")
def pair(folder):
    return write_pair(Toy(Sdpa(), Sdpa()), folder / "toy")


@pytest.fixture(scope="module")
def expected(pair, tokens):
    return measure(pair[0], "--tokens", tokens)


def comparable(report):
    """What must not depend on how the weights came in."""
    return {key: report[key] for key in ("metrics", "sites", "streams", "input", "warnings")}


@pytest.mark.parametrize("flags", [(), ("--stream-weights",)], ids=["resident", "streamed"])
def test_a_graph_only_model_gives_the_bits_of_the_stored_one(pair, tokens, expected, flags):
    report = measure(pair[1], "--weights", pair[2], "--tokens", tokens, "--verify", *flags)
    assert comparable(report) == comparable(expected)
    assert report["model"]["parameters"] == expected["model"]["parameters"]
    assert report["model"]["dtype"] == "float32"
    weights = report["model"]["weights"]
    assert (weights["path"], weights["dtype"], weights["casts"]) == (str(pair[2]), "float32", 0)
    assert len(weights["sha256"]) == 64
    assert report["verify"]["logits_bit_identical"]


def test_a_stored_model_can_be_streamed_too(pair, tokens, expected):
    assert comparable(measure(pair[0], "--weights", pair[2], "--stream-weights", "--tokens", tokens)) == comparable(expected)


def test_a_graph_only_model_without_weights_is_inspected_but_not_measured(pair, tokens):
    assert "2 attention sites" in sinkscope("inspect", pair[1]).stdout
    assert "--weights" in refused("measure", pair[1], "--tokens", tokens, code=2)
    assert "--weights" in refused("inspect", pair[1], "--run", "--tokens", tokens, code=2)


def test_shards_an_index_and_a_directory_give_the_same_numbers_and_hash(pair, tokens, expected, tmp_path):
    tensors = load_file(pair[2])
    names = sorted(tensors)
    shards = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, tmp_path / file)
    whole = measure(pair[1], "--weights", pair[2], "--tokens", tokens)["model"]["weights"]["sha256"]
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        report = measure(pair[1], "--weights", path, "--tokens", tokens)
        assert comparable(report) == comparable(expected)
        assert report["model"]["weights"]["sha256"] == whole
        # What the index says about the place of a tensor is not believed.
        index = {"weight_map": {name: next(iter(shards)) for name in shards[next(iter(shards))]} | {names[1]: list(shards)[1]}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / list(shards)[1]).unlink()
    assert list(shards)[1] in refused("measure", pair[1], "--weights", tmp_path, "--tokens", tokens, code=3)


def test_a_tensor_in_two_shards_is_refused_by_name(pair, tokens, tmp_path):
    tensors = load_file(pair[2])
    for file in ("a", "b"):
        save_file(tensors, tmp_path / f"{file}.safetensors")
    error = refused("measure", pair[1], "--weights", tmp_path, "--tokens", tokens, code=3)
    assert '"blocks.0.attention.key.weight" in a.safetensors and b.safetensors' in error


@pytest.mark.parametrize("flags", [(), ("--stream-weights",)], ids=["resident", "streamed"])
def test_the_weight_map_renames_stacks_joins_transposes_and_cuts(folder, tokens, expected, pair, flags, tmp_path):
    """The checkpoint holds q, k, v joined, the output map transposed, the head in two halves, an odd embedding name."""
    tensors = load_file(pair[2])
    written, weight_map = {"wte": tensors["embedding.weight"]}, {"embedding.weight": "wte"}
    for block in range(2):
        at = f"blocks.{block}.attention"
        parts = [tensors[f"{at}.{part}.weight"] for part in ("query", "key", "value")]
        written[f"h.{block}.qkv"] = torch.cat(parts)
        for i, part in enumerate(("query", "key", "value")):
            weight_map[f"{at}.{part}.weight"] = {"op": "slice", "dim": 0, "start": 16 * i, "end": 16 * i + 16,
                                                 "of": [f"h.{block}.qkv"]}
        written[f"h.{block}.out"] = tensors[f"{at}.out.weight"].t().contiguous()
        weight_map[f"{at}.out.weight"] = {"op": "transpose", "dim": 0, "of": [f"h.{block}.out"]}
    head = tensors["head.weight"]  # [29, 16]
    written["head.left"], written["head.right"] = head[:, :8].contiguous(), head[:, 8:].contiguous()
    weight_map["head.weight"] = {
        "op": "reshape", "shape": [29, 16],
        "of": [{"op": "stack", "dim": 1, "of": ["head.left", {"op": "alias", "of": ["head.right"]}]}]}
    save_file(written, tmp_path / "w.safetensors")
    graph = write(hollow(Toy(Sdpa(), Sdpa())), tmp_path / "g.pt", metadata={"weight_map": weight_map})
    report = measure(graph, "--weights", tmp_path / "w.safetensors", "--tokens", tokens, *flags)
    assert report["metrics"] == expected["metrics"]

    # Behind a prefix the map still serves; without one of its tensors, the parameter made of it is named with the recipe.
    save_file({f"model.{name}": t for name, t in written.items()}, tmp_path / "w.safetensors")
    assert measure(graph, "--weights", tmp_path / "w.safetensors", "--tokens", tokens, *flags)["metrics"] == expected["metrics"]
    del written["head.right"]
    save_file(written, tmp_path / "w.safetensors")
    error = refused("measure", graph, "--weights", tmp_path / "w.safetensors", "--tokens", tokens, code=3)
    assert "head.weight (made of reshape(stack(head.left, head.right, dim 1)" in error


def test_a_weight_map_that_is_none_is_refused_by_its_entry(tokens, pair, tmp_path):
    graph = write(hollow(Toy(Sdpa())), tmp_path / "g.pt", metadata={"weight_map": {"head.weight": {"op": "melt", "of": ["a"]}}})
    error = refused("measure", graph, "--weights", pair[2], "--tokens", tokens, code=3)
    assert "head.weight" in error and "melt" in error


def test_tied_parameters_may_be_once_in_the_file_or_twice_but_alike(tokens, tmp_path):
    stored, graph, weights = write_pair(Tied(Sdpa()), tmp_path / "tied")
    expected = measure(stored, "--tokens", tokens)
    tensors = load_file(weights)
    assert "head.weight" not in tensors
    mapped = write(hollow(Tied(Sdpa())), tmp_path / "m.pt",
                   metadata={"weight_map": {name: name for name in tensors} | {"head.weight": "embedding.weight"}})
    for model, flags in ((graph, ()), (graph, ("--stream-weights",)), (mapped, ()), (stored, ())):
        report = measure(model, "--weights", weights, "--tokens", tokens, *flags)
        assert report["metrics"] == expected["metrics"]
        assert report["model"]["parameters"] == expected["model"]["parameters"]
    save_file(tensors | {"head.weight": tensors["embedding.weight"].clone()}, tmp_path / "both.safetensors")
    report = measure(mapped, "--weights", tmp_path / "both.safetensors", "--tokens", tokens)
    assert report["metrics"] == expected["metrics"]
    save_file(tensors | {"head.weight": tensors["embedding.weight"] + 1}, tmp_path / "both.safetensors")
    for model in (graph, mapped, stored):
        error = refused("measure", model, "--weights", tmp_path / "both.safetensors", "--tokens", tokens, code=3)
        assert "tied" in error and "head.weight" in error


def test_extra_buffers_of_old_checkpoints_are_ignored_and_other_extras_are_not(pair, tokens, expected, tmp_path):
    old = {"blocks.0.attention.rotary_emb.inv_freq": torch.ones(4), "blocks.0.attn.masked_bias": torch.tensor(-1e4),
           "blocks.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8).tril(), "norm.num_batches_tracked": torch.tensor(7)}
    save_file(load_file(pair[2]) | old, tmp_path / "w.safetensors")
    assert measure(pair[1], "--weights", tmp_path / "w.safetensors", "--tokens", tokens)["metrics"] == expected["metrics"]
    for name, learned in (("blocks.0.attn.bias", torch.ones(16)), ("blocks.0.attn.bias", torch.randn(1, 2, 32, 32)),
                          ("embed_positions", torch.randn(64, 16))):
        save_file(load_file(pair[2]) | {name: learned}, tmp_path / "w.safetensors")
        error = refused("measure", pair[1], "--weights", tmp_path / "w.safetensors", "--tokens", tokens, code=3)
        assert "unexpected" in error and name in error


def with_shared_placeholders(by_shape):
    """All parameters share one element; those of one shape are one parameter if `by_shape`, and so one in the trace."""
    toy, element, known = Toy(Sdpa(), Sdpa()), torch.zeros(1), {}
    for module in toy.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = nn.Parameter(element.expand(parameter.shape), requires_grad=False)
                module._parameters[name] = known.setdefault(parameter.shape, empty) if by_shape else empty
    return toy


def test_placeholders_that_share_their_element_do_not_stand_in_for_one_another(pair, tokens, expected, tmp_path):
    graph, tensors = write(with_shared_placeholders(by_shape=False), tmp_path / "g.pt"), load_file(pair[2])
    arguments = ("--weights", tmp_path / "w.safetensors", "--tokens", tokens)
    save_file(tensors, tmp_path / "w.safetensors")
    assert measure(graph, *arguments)["metrics"] == expected["metrics"]
    del tensors["blocks.0.attention.value.weight"]
    save_file(tensors, tmp_path / "w.safetensors")
    assert "blocks.0.attention.value.weight" in refused("measure", graph, *arguments, code=3)


def test_parameters_that_are_one_in_a_graph_cannot_take_different_tensors(pair, tokens, tmp_path):
    graph, tensors = write(with_shared_placeholders(by_shape=True), tmp_path / "g.pt"), load_file(pair[2])
    for absent in (None, "blocks.0.attention.value.weight"):
        tensors.pop(absent, None)
        save_file(tensors, tmp_path / "w.safetensors")
        error = refused("measure", graph, "--weights", tmp_path / "w.safetensors", "--tokens", tokens, code=3)
        assert "blocks.0.attention.key.weight and blocks.0.attention.query.weight are one tensor" in error or (
            "blocks.0.attention.query.weight and blocks.0.attention.key.weight are one tensor" in error)


def test_of_two_whole_models_in_a_checkpoint_one_must_be_left_out(tokens, tmp_path):
    student, ema = Toy(Sdpa(), seed=1), Toy(Sdpa(), seed=2)
    save_file({f"{prefix}.{name}": tensor for prefix, toy in (("student", student), ("ema", ema))
               for name, tensor in tensors_of(toy).items()}, tmp_path / "w.safetensors")
    graph = write(hollow(Toy(Sdpa())), tmp_path / "g.pt")
    arguments = ("measure", graph, "--weights", tmp_path / "w.safetensors", "--tokens", tokens)
    for flags in ((), ("--allow-unexpected", "*")):
        error = refused(*arguments, *flags, code=3)
        assert "prefixes that fit alike" in error and "student." in error and "ema." in error
    for toy, other in ((student, "ema.*"), (ema, "student.*")):
        expected = measure(write(toy, tmp_path / "stored.pt"), "--tokens", tokens)["metrics"]
        assert measure(*arguments[1:], "--allow-unexpected", other)["metrics"] == expected


def test_a_parameter_of_a_graph_only_model_cannot_be_allowed_to_be_missing(pair, tokens, tmp_path):
    tensors = load_file(pair[2])
    del tensors["head.weight"]
    save_file(tensors, tmp_path / "w.safetensors")
    arguments = ("--weights", tmp_path / "w.safetensors", "--tokens", tokens, "--allow-missing", "*")
    error = refused("measure", pair[1], *arguments, code=3)
    assert "head.weight" in error and "no value" in error
    measure(pair[0], *arguments)


@pytest.mark.parametrize("flags", [(), ("--stream-weights",)], ids=["resident", "streamed"])
def test_other_float_dtypes_are_cast_to_the_graphs_and_counted(pair, tokens, expected, flags, tmp_path):
    tensors = load_file(pair[2])
    for dtype, name, tolerance in ((torch.float64, "float64", 0), (torch.bfloat16, "bfloat16", 0.2)):
        save_file({key: t.to(dtype) for key, t in tensors.items()}, tmp_path / "w.safetensors")
        report = measure(pair[1], "--weights", tmp_path / "w.safetensors", "--tokens", tokens, *flags)
        weights = report["model"]["weights"]
        assert (weights["dtype"], weights["casts"], report["model"]["dtype"]) == (name, len(tensors), "float32")
        value, wanted = (r["metrics"]["attention_entropy"]["value"] for r in (report, expected))
        assert abs(value - wanted) <= tolerance


def test_quantised_weights_are_refused_by_name(pair, tokens, tmp_path):
    tensors = load_file(pair[2])
    weight = tensors.pop("head.weight")
    packed = {"head.qweight": weight.to(torch.int32), "head.scales": torch.ones(29, dtype=torch.float16)}
    save_file(tensors | packed, tmp_path / "w.safetensors")
    error = refused("measure", pair[1], "--weights", tmp_path / "w.safetensors", "--tokens", tokens, code=3)
    assert "head.qweight: I32" in error and "quantised" in error and "head.weight" in error


def test_weights_in_the_wanted_dtype_are_cast_once(pair, tokens, tmp_path):
    """float32 -> float32 by way of a bfloat16 graph would have lost its digits."""
    toy = Toy(Sdpa(), Sdpa())
    stored = write(toy, tmp_path / "stored.pt")
    narrow = write(hollow(Toy(Sdpa(), Sdpa()).bfloat16()), tmp_path / "narrow.pt")
    save_file(tensors_of(toy), tmp_path / "w.safetensors")
    report = measure(narrow, "--weights", tmp_path / "w.safetensors", "--dtype", "float32", "--tokens", tokens)
    assert report["metrics"] == measure(stored, "--tokens", tokens)["metrics"]
    assert (report["model"]["weights"]["casts"], report["settings"]["dtype"]) == (0, "float32")


class Scaled(nn.Module):
    """Adds a table in the dtype of the weights to the queries."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.linspace(0, 1, 8))

    def forward(self, q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q + self.table, k, v, is_causal=True)


class Masked(nn.Module):
    def forward(self, q, k, v):
        scores = (q @ k.transpose(-1, -2)).masked_fill(torch.ones(q.size(2), q.size(2), dtype=torch.bool).triu(1), -3e38)
        return torch.softmax(scores, -1) @ v


@pytest.mark.parametrize(("core", "dtype", "words"), [(Scaled, "bfloat16", ("table", "add")), (Masked, "float16", ("-3e+38", "masked_fill"))])
def test_a_graph_that_is_tied_to_its_dtype_is_not_moved_and_says_what_ties_it(core, dtype, words, tokens, tmp_path):
    model = write(Toy(core()), tmp_path / "m.pt")
    error = refused("measure", model, "--tokens", tokens, "--dtype", dtype, code=3)
    assert all(word in error for word in words), error
    assert measure(model, "--tokens", tokens, "--dtype", "float32")["settings"]["dtype"] == "float32"


def test_a_graph_that_nothing_ties_to_its_dtype_is_moved(pair, tokens):
    report = measure(pair[1], "--weights", pair[2], "--tokens", tokens, "--dtype", "bfloat16")
    assert report["model"]["weights"]["casts"] == 10
    assert report["metrics"] == measure(pair[0], "--tokens", tokens, "--dtype", "bfloat16")["metrics"]


CONFIG = {"rope_theta": 10000.0, "num_attention_heads": 2, "hidden_size": 16, "rms_norm_eps": 1e-5, "use_cache": True,
          "attn_config": {"alibi": True}}


@pytest.mark.parametrize(("change", "key", "values"), [
    ({"rope_theta": 500000.0}, "rope_theta", ("500000.0", "10000.0")),
    ({"rope_theta": None, "rope_parameters": {"rope_theta": 5e5}}, "rope_parameters.rope_theta", ("500000.0", "10000.0")),
    ({"num_attention_heads": 4}, "num_attention_heads", ("4", "2")),
    ({"rms_norm_eps": 1e-6}, "rms_norm_eps", ("1e-06", "1e-05")),
    ({"attn_config": {"alibi": False}}, "attn_config.alibi", ("false", "true")),
    ({"rope_theta": None}, "rope_theta", ("20000.0, by default,", "10000.0")),
])
def test_a_configuration_of_another_computation_beside_the_weights_is_refused_unless_allowed(tokens, tmp_path, change, key, values):
    _, graph, weights = write_pair(Toy(Sdpa()), tmp_path / "m", config=CONFIG, config_defaults={"rope_theta": 20000.0})
    changed = {k: v for k, v in (CONFIG | change).items() if v is not None}
    (tmp_path / "m" / "config.json").write_text(json.dumps(changed | {"use_cache": False, "torch_dtype": "float16"}))
    error = refused("measure", graph, "--weights", weights, "--tokens", tokens, code=3)
    assert f"{key}: {values[0]} there, {values[1]} in the model" in error
    assert "use_cache" not in error
    measure(graph, "--weights", weights, "--tokens", tokens, "--allow-config", key)
    (tmp_path / "m" / "config.json").write_text(json.dumps(CONFIG))
    measure(graph, "--weights", weights, "--tokens", tokens)


def test_streaming_excludes_gradients_and_needs_weights(pair, tokens):
    arguments = ("measure", pair[1], "--tokens", tokens, "--stream-weights")
    assert "mixing_jacobian" in refused(*arguments, "--weights", pair[2], "--metric", "mixing_jacobian", code=2)
    assert "--weights" in refused(*arguments, code=2)


class Branching(nn.Module):
    """Uses one parameter twice, and others only in the branch that the input chooses."""

    def __init__(self):
        super().__init__()
        sizes = (29, 16), (16, 16), (16, 16)
        self.embedding, self.left, self.right = (nn.Parameter(0.25 * torch.randn(size)) for size in sizes)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.embedding(ids, self.embedding)
        for _ in range(2):
            x = x @ self.left
        if ids.size(1) > 12:
            x = x @ self.right
        q = x.unsqueeze(1)
        x = x + torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True).squeeze(1)
        return x @ self.embedding.t()


def test_streaming_follows_branches_and_loops(tmp_path):
    torch.manual_seed(0)
    module = Branching()
    stored = write(module, tmp_path / "m.pt", script=True)
    save_file(tensors_of(module), tmp_path / "w.safetensors")
    ids = [ids_of(1, length, seed=length)[0].tolist() for length in (10, 20, 11, 21, 9)]
    tokens = write_tokens(tmp_path / "t.jsonl", ids)
    arguments = ("--tokens", tokens, "--batch", 1)
    streamed = measure(stored, "--weights", tmp_path / "w.safetensors", "--stream-weights", *arguments)
    assert streamed["metrics"] == measure(stored, *arguments)["metrics"]
