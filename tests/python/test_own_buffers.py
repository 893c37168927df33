"""Buffers that a model computes itself: a checkpoint does not replace them, and must not say otherwise."""

import pytest
import torch
from measuring import MEASURES, measure, refused, write_tokens
from safetensors.torch import load_file, save_file
from support import run_script
from tiny_models import LAYERS, write_tiny_model
from torch import nn
from toys import Toy, ids_of, write

pytestmark = pytest.mark.skipif(not MEASURES, reason="the program is not built")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_tokens(tmp_path_factory.mktemp("buffers") / "t.jsonl", ids_of(3, 20).tolist())


class Window(nn.Module):
    """Attends to the last few keys; how many is an integer buffer."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("size", torch.tensor(size))

    def forward(self, q, k, v):
        at = torch.arange(q.size(2))
        back = at[:, None] - at[None]
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=(back >= 0) & (back < self.size))


class Rotary(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.rotary_emb = nn.Module()
        self.rotary_emb.register_buffer("inv_freq", base ** (-torch.arange(0, 8, 2) / 8.0))

    def forward(self, q, k, v):
        angle = torch.arange(q.size(2)).float()[:, None] * self.rotary_emb.inv_freq
        cos, sin = angle.cos(), angle.sin()
        q, k = (torch.cat([x[..., :4] * cos - x[..., 4:] * sin, x[..., :4] * sin + x[..., 4:] * cos], -1) for x in (q, k))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class OldMask(nn.Module):
    """GPT-2's mask and what hidden scores are set to, as buffers."""

    def __init__(self, length):
        super().__init__()
        self.attn = nn.Module()
        self.attn.register_buffer("bias", torch.ones(1, 1, length, length, dtype=torch.bool).tril())
        self.attn.register_buffer("masked_bias", torch.tensor(-1e9))

    def forward(self, q, k, v):
        scores = (q @ k.transpose(-1, -2)).where(self.attn.bias[:, :, : q.size(2), : k.size(2)], self.attn.masked_bias)
        return torch.softmax(scores, -1) @ v


def with_buffers(toy, path, *, change):
    """The weights of a model with its buffers, some of them changed."""
    tensors = {name: tensor.clone() for name, tensor in toy.state_dict().items()}
    for name, value in change.items():
        assert any(key.endswith(name) for key in tensors)
        tensors |= {key: value for key in tensors if key.endswith(name)}
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(("core", "name", "same", "other"), [
    (lambda: Window(3), "size", torch.tensor(3, dtype=torch.int32), torch.tensor(9)),
    (lambda: Window(3), "size", torch.tensor(3), torch.tensor([3])),
    (lambda: Rotary(1e4), "inv_freq", (1e4 ** (-torch.arange(0, 8, 2) / 8.0)).half(), 3.0 ** (-torch.arange(0, 8, 2) / 8.0)),
    (lambda: Rotary(5e5), "inv_freq", (5e5 ** (-torch.arange(0, 8, 2) / 8.0)).bfloat16(), 1e4 ** (-torch.arange(0, 8, 2) / 8.0)),
])
def test_a_buffer_that_a_checkpoint_does_not_replace_must_have_its_value(core, name, same, other, tokens, tmp_path):
    toy = Toy(core())
    model = write(toy, tmp_path / "m.pt")
    expected = measure(model, "--tokens", tokens)
    weights = with_buffers(toy, tmp_path / "same.safetensors", change={name: same})
    assert measure(model, "--weights", weights, "--tokens", tokens)["metrics"] == expected["metrics"]
    weights = with_buffers(toy, tmp_path / "other.safetensors", change={name: other})
    error = refused("measure", model, "--weights", weights, "--tokens", tokens, code=3)
    assert "own buffer" in error and name in error


def test_masks_of_old_checkpoints_may_be_longer_and_of_another_dtype_but_not_of_another_window(tokens, tmp_path):
    toy = Toy(OldMask(32))
    model = write(toy, tmp_path / "m.pt")
    expected = measure(model, "--tokens", tokens)
    causal = torch.ones(1, 1, 64, 64).tril()
    for value in (-1e4, float("-inf")):  # -inf: what float16 makes of -1e9
        change = {".bias": causal, "masked_bias": torch.tensor(value)}
        weights = with_buffers(toy, tmp_path / "w.safetensors", change=change)
        assert measure(model, "--weights", weights, "--tokens", tokens)["metrics"] == expected["metrics"]
    weights = with_buffers(toy, tmp_path / "w.safetensors", change={".bias": causal.triu(-8)})
    error = refused("measure", model, "--weights", weights, "--tokens", tokens, code=3)
    assert "own buffer" in error and "bias: F32 [1, 1, 64, 64] in the file, [1, 1, 32, 32] in the model" in error


CAUSAL = torch.ones(1, 1, 2048, 2048).tril()
FREQUENCIES = 1e4 ** (-torch.arange(0, 16, 2) / 16.0)


@pytest.mark.parametrize(("family", "old"), [
    ("gpt2", {"transformer.h.{}.attn.bias": CAUSAL, "transformer.h.{}.attn.masked_bias": torch.tensor(-1e4)}),
    ("gpt_neox", {"gpt_neox.layers.{}.attention.bias": CAUSAL.bool(),
                  "gpt_neox.layers.{}.attention.masked_bias": torch.tensor(-1e9),
                  "gpt_neox.layers.{}.attention.rotary_emb.inv_freq": FREQUENCIES.half()}),
    ("llama", {"model.layers.{}.self_attn.rotary_emb.inv_freq": FREQUENCIES.half()}),
])
@pytest.mark.parametrize("attention", ["fused", "eager"])
def test_old_checkpoints_fit_the_graphs_of_today(family, old, attention, tokens, tmp_path):
    write_tiny_model(tmp_path / "model", family)
    flags = ("--graph-only", "--attention", attention)
    result = run_script("export_hf.py", tmp_path / "model", "-o", tmp_path / "m.pt", *flags)
    assert result.returncode == 0, result.stderr
    arguments = (tmp_path / "m.pt", "--tokens", tokens, "--weights")
    expected = measure(*arguments, tmp_path / "model")["metrics"]
    extra = {name.format(layer): tensor.clone() for name, tensor in old.items() for layer in range(LAYERS)}
    save_file(load_file(tmp_path / "model" / "model.safetensors") | extra, tmp_path / "old.safetensors")
    assert measure(*arguments, tmp_path / "old.safetensors")["metrics"] == expected
