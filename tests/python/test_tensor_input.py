"""Models that take pixels or embeddings, and encoder-decoder models: `--tensor`, no next-token loss, self and cross apart."""


import numpy as np
import pytest
import torch
import truth
from gallery.swin import Shifted
from measuring import MEASURES, codes, measure, refused, warning, write_tokens
from safetensors.numpy import save_file
from torch import nn
from toys import BATCH, LENGTH, VOCABULARY, WIDTH, Attention, Block, Sdpa, Toy, assert_agrees, ids_of, truth_of, write

PATCH = 4  # pixels of a patch, along one axis
SIDE = 12  # pixels of an image
PATCHES = (SIDE // PATCH) ** 2

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


class Vision(Toy):
    """Patches [N, 1, 12, 12] -> 9 positions -> blocks -> classes of the mean position."""

    def __init__(self, *cores: nn.Module):
        super().__init__(*cores)
        self.patches = nn.Conv2d(1, WIDTH, PATCH, PATCH)

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


class Embedded(Toy):
    """Takes what the embedding would give, [N, T, 16]."""

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).normal(size=(5, 1, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    toy = Vision(Sdpa(causal=False), Sdpa(causal=False))
    path = write(toy, tmp_path_factory.mktemp("vision") / "m.pt", example=torch.zeros(2, 1, SIDE, SIDE),
                 metadata={"format": 1, "input": "tensor"})
    return toy, path


def saved(folder, array, name="pixels.npy"):
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        save_file({"pixel_values": array}, path)
    return path


def test_a_vision_model_is_measured_on_pixels(tmp_path, pixels, vision):
    toy, path = vision
    report = measure(path, "--tensor", saved(tmp_path, pixels), "--verify")
    with torch.no_grad():
        toy.embedding = nn.Embedding.from_pretrained(toy.patches(torch.tensor(pixels)).flatten(2).transpose(1, 2).reshape(-1, WIDTH))
    rows = torch.arange(len(pixels) * PATCHES).view(len(pixels), PATCHES)
    sites, streams, _ = truth_of(toy, rows, np.zeros(()), np.zeros(()))
    assert_agrees(report, sites, streams)
    others = [truth.first_and_others(s)[1] for s in streams]
    np.testing.assert_allclose(report["metrics"]["hidden_norm"]["series"]["others"]["data"], others, rtol=1e-5)
    assert report["input"]["source"] == "tensor"
    assert report["input"]["path"].endswith("pixels.npy") and len(report["input"]["file_sha256"]) == 64
    assert report["input"]["length"] == {"min": PATCHES, "max": PATCHES}
    assert (report["input"]["sequences"], report["input"]["tokens"]) == (5, 5 * PATCHES)
    assert report["input"]["position_0_ids"] == {} and report["input"]["vocabulary"] is None
    assert {s["mask"] for s in report["sites"]} == {"none"} and {s["kind"] for s in report["sites"]} == {"self"}
    assert report["metrics"]["loss"]["value"] is None and "no token ids" in warning(report, "no_loss")
    assert report["metrics"]["first_token_mass"]["uniform"] == pytest.approx(1 / PATCHES)
    assert report["verify"]["logits_bit_identical"] is True and report["verify"]["prefix_consistent"] is None


def test_the_jacobian_of_a_vision_model_covers_its_positions(tmp_path, pixels, vision):
    report = measure(vision[1], "--tensor", saved(tmp_path, pixels), "--limit", 1, "--metric", "mixing_jacobian")
    norms = report["metrics"]["mixing_jacobian"]["series"]["norm"]["data"]
    assert np.shape(norms) == (1, PATCHES) and report["metrics"]["mixing_jacobian"]["value"] > 0


def test_the_file_format_and_the_batch_do_not_change_what_is_measured(tmp_path, pixels, vision):
    path = vision[1]
    reports = [measure(path, "--tensor", saved(tmp_path, pixels, name), "--batch", batch)
               for name, batch in (("x.npy", 5), ("x.safetensors", 5), ("x.npy", 2))]
    assert reports[0]["input"]["sha256"] == reports[1]["input"]["sha256"] == reports[2]["input"]["sha256"]
    assert reports[0]["metrics"] == reports[1]["metrics"]
    assert reports[2]["metrics"]["first_token_mass"]["value"] == pytest.approx(
        reports[0]["metrics"]["first_token_mass"]["value"], abs=1e-6)
    limited = measure(path, "--tensor", tmp_path / "x.npy", "--limit", 2)
    assert limited["input"]["sequences"] == 2 and limited["input"]["sha256"] != reports[0]["input"]["sha256"]
    assert limited["metrics"]["first_token_mass"]["per_sequence"] == pytest.approx(
        reports[0]["metrics"]["first_token_mass"]["per_sequence"][:2], abs=1e-6)


def test_pixels_are_cast_to_the_dtype_of_the_model(tmp_path, pixels, vision):
    toy = Vision(Sdpa(causal=False)).to(torch.bfloat16)
    path = write(toy, tmp_path / "half.pt", example=torch.zeros(2, 1, SIDE, SIDE, dtype=torch.bfloat16))
    report = measure(path, "--tensor", saved(tmp_path, pixels.astype(np.float64)))
    assert report["settings"]["dtype"] == "bfloat16" and report["metrics"]["first_token_mass"]["value"] is not None


def test_embeddings_have_a_length_and_give_what_their_ids_give(tmp_path):
    toy = Toy(Sdpa(), Sdpa())
    ids = ids_of(BATCH, LENGTH)
    by_ids = measure(write(toy, tmp_path / "ids.pt"), "--tokens", write_tokens(tmp_path / "t.jsonl", ids.tolist()))
    rows = toy.embedding(ids).detach().numpy()
    embedded = Embedded(Sdpa(), Sdpa())
    embedded.load_state_dict(toy.state_dict())
    path = write(embedded, tmp_path / "rows.pt", example=torch.zeros(2, 11, WIDTH))
    report = measure(path, "--tensor", saved(tmp_path, rows))
    assert report["input"]["length"] == {"min": LENGTH, "max": LENGTH}
    for name in ("first_token_mass", "attention_entropy", "massive_activation", "head_output_norm"):
        assert report["metrics"][name]["value"] == pytest.approx(by_ids["metrics"][name]["value"], rel=1e-5)
    position = report["metrics"]["dominant_key"]["series"]
    assert position["position"]["data"] == by_ids["metrics"]["dominant_key"]["series"]["position"]["data"]
    assert set(sum(position["token_id"]["data"], [])) == {None}


def test_ids_for_numbers_and_numbers_for_ids_are_refused(tmp_path, pixels, vision):
    path, numbers = vision[1], saved(tmp_path, pixels)
    assert "--tensor" in refused("measure", path, "--random-tokens", 2, code=2)
    assert "--tensor" in refused("measure", path, code=2)
    ids = write(Toy(Sdpa()), tmp_path / "ids.pt", metadata={"format": 1, "input": "tokens", "vocabulary": VOCABULARY})
    assert "token ids" in refused("measure", ids, "--tensor", numbers, code=2)
    assert "exclude" in refused("measure", path, "--tensor", numbers, "--random-tokens", 2, code=2)
    assert "--length" in refused("measure", path, "--tensor", numbers, "--length", 4, code=2)
    assert "does not exist" in refused("measure", path, "--tensor", tmp_path / "absent.npy", code=3)
    too_small = saved(tmp_path, pixels[:, :, :3, :], "small.npy")
    assert "1 x 3 x 12" in refused("measure", path, "--tensor", too_small, code=3)


class Transposed(nn.Module):
    """[heads, batch, T, D]."""

    def forward(self, q, k, v):
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        return (torch.softmax(q @ k.transpose(-1, -2) / q.size(-1) ** 0.5, -1) @ v).transpose(0, 1)


@pytest.mark.parametrize("core", [lambda: Shifted(0), Transposed], ids=["windows", "heads first"])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_the_batch_does_not_change_which_numbers_are_heads(tmp_path, core, batch):
    """Two heads and four windows: at some batch every leading dim can be mistaken for another."""
    rows = np.random.default_rng(2).normal(size=(4, 16, WIDTH)).astype(np.float32)
    path = write(Embedded(core()), tmp_path / "m.pt", example=torch.zeros(2, 16, WIDTH))
    report, truth_by_three = (measure(path, "--tensor", saved(tmp_path, rows), "--batch", b) for b in (batch, 3))
    assert report["sites"][0]["query_heads"] == 2
    for name in ("first_token_mass", "attention_entropy", "head_output_norm"):
        found, expected = report["metrics"][name], truth_by_three["metrics"][name]
        assert found["per_head"] == [pytest.approx(row, rel=1e-5) for row in expected["per_head"]]
        assert found["per_sequence"] == pytest.approx(expected["per_sequence"], rel=1e-5)


class CrossAttention(Attention):
    def forward(self, x, memory):
        mixed = self.core(self.split(self.query(x)), self.split(self.key(memory)), self.split(self.value(memory)))
        return self.out(mixed.transpose(1, 2).reshape(x.size(0), x.size(1), -1))


class DecoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.own, self.cross = Attention(Sdpa(), 2), CrossAttention(Sdpa(causal=False), 2)

    def forward(self, x, memory):
        x = x + self.own(x)
        return x + self.cross(x, memory)


class EncoderDecoder(nn.Module):
    """The same ids enter both stacks, so queries and keys of cross attention are equally many."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.encoder = nn.ModuleList([Block(Sdpa(causal=False), 2) for _ in range(2)])
        self.decoder = nn.ModuleList([DecoderBlock() for _ in range(3)])
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids):
        memory = self.embedding(ids)
        for block in self.encoder:
            memory = block(memory)
        x = self.embedding(ids)
        for block in self.decoder:
            x = block(x, memory)
        return self.head(x)


@pytest.mark.parametrize("script", [False, True])
def test_cross_attention_over_equal_lengths_is_told_by_where_its_keys_come_from(tmp_path, script):
    path = write(EncoderDecoder(), tmp_path / "m.pt", script=script)
    report = measure(path, "--tokens", write_tokens(tmp_path / "t.jsonl", ids_of(BATCH, LENGTH).tolist()))
    assert [(s["kind"], s["layer"]) for s in report["sites"]] == [
        ("self", 0), ("self", 1), *[(kind, layer) for layer in range(3) for kind in ("self", "cross")]]
    metric = report["metrics"]["first_token_mass"]
    of_self = [v for s, v in zip(report["sites"], metric["per_site"], strict=True) if s["kind"] == "self"]
    assert metric["value"] == pytest.approx(np.mean(of_self))
    groups = {(g["kind"], g["mask"]): g["value"] for g in metric["by_group"]}
    assert groups.keys() == {("self", "none"), ("self", "causal"), ("cross", "none")}
    of_cross = [v for s, v in zip(report["sites"], metric["per_site"], strict=True) if s["kind"] == "cross"]
    assert groups["cross", "none"] == pytest.approx(np.mean(of_cross))
    assert [s["layer"] for s in report["streams"]] == [None, 0, 1, None, 0, 1, 2]
    assert "no_loss" in codes(report)
