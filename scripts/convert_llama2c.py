#!/usr/bin/env python3
"""Converts a llama2.c checkpoint and its tokenizer to a Hugging Face Llama directory.

    scripts/convert_llama2c.py stories260K.bin tok512.bin -o stories260K/

The directory can then be exported (export_hf.py) and its tokenizer used (tokenize_hf.py). llama2.c rotates neighbouring
elements (2i, 2i+1) of q and k, Hugging Face Llama element i with i + D/2, so the rows of wq and wk are reordered; the
scores do not change, because q and k are reordered alike. Source of both formats: github.com/karpathy/llama2.c, run.c
and export.py (legacy version 0).
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sinkscope_export.files import ScriptError, run_main, write_text, written_aside
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

HEADER = struct.Struct("<7i")  # dim, hidden, layers, heads, KV heads, vocabulary (negative: untied), positions
UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"  # ids 0, 1, 2
FIRST_BYTE = 3  # ids 3 to 258 are the bytes 0 to 255
NORM_EPSILON = 1e-5  # fixed in run.c
ROPE_THETA = 10000.0  # fixed in run.c


def read_checkpoint(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Reads a checkpoint; returns the Hugging Face configuration and float32 tensors under Hugging Face names."""
    data = path.read_bytes()
    if len(data) < HEADER.size:
        raise ScriptError(f"{path}: too short for a llama2.c checkpoint")
    dim, hidden, layers, heads, kv_heads, vocabulary, positions = HEADER.unpack_from(data)
    tied, vocabulary = vocabulary > 0, abs(vocabulary)
    sizes = (dim, hidden, layers, heads, kv_heads, vocabulary, positions)
    if min(sizes) < 1 or max(sizes) > 1 << 24 or dim % heads or heads % kv_heads:
        raise ScriptError(f"{path}: not a llama2.c checkpoint (dim, hidden, layers, heads, KV heads, vocabulary, positions = {sizes})")
    head_dim, kv_dim = dim // heads, dim // heads * kv_heads
    shapes = {
        "embedding": (vocabulary, dim), "attention_norm": (layers, dim), "query": (layers, dim, dim),
        "key": (layers, kv_dim, dim), "value": (layers, kv_dim, dim), "output": (layers, dim, dim),
        "mlp_norm": (layers, dim), "gate": (layers, hidden, dim), "down": (layers, dim, hidden), "up": (layers, hidden, dim),
        "final_norm": (dim,), "rope_cosine": (positions, head_dim // 2), "rope_sine": (positions, head_dim // 2),
    }
    if not tied:
        shapes["unembedding"] = (vocabulary, dim)
    expected = HEADER.size + 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    if len(data) != expected:
        raise ScriptError(f"{path}: has {len(data)} bytes, its header asks for {expected}")
    parts, offset = {}, HEADER.size
    for name, shape in shapes.items():
        parts[name] = np.frombuffer(data, "<f4", int(np.prod(shape)), offset).reshape(shape)
        offset += parts[name].nbytes

    tensors = {"model.embed_tokens.weight": parts["embedding"], "model.norm.weight": parts["final_norm"]}
    if not tied:
        tensors["lm_head.weight"] = parts["unembedding"]
    for layer in range(layers):
        tensors |= {
            f"model.layers.{layer}.{name}.weight": np.ascontiguousarray(tensor)
            for name, tensor in {
                "self_attn.q_proj": halves_first(parts["query"][layer], heads),
                "self_attn.k_proj": halves_first(parts["key"][layer], kv_heads),
                "self_attn.v_proj": parts["value"][layer],
                "self_attn.o_proj": parts["output"][layer],
                "mlp.gate_proj": parts["gate"][layer],
                "mlp.up_proj": parts["up"][layer],
                "mlp.down_proj": parts["down"][layer],
                "input_layernorm": parts["attention_norm"][layer],
                "post_attention_layernorm": parts["mlp_norm"][layer],
            }.items()
        }
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32", "hidden_act": "silu",
        "hidden_size": dim, "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_dim, "vocab_size": vocabulary,
        "max_position_embeddings": positions, "rms_norm_eps": NORM_EPSILON,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA}, "tie_word_embeddings": tied,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    }
    return config, tensors


def halves_first(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of each head from pairs (0, 1, 2, 3, ...) to halves (0, 2, ..., 1, 3, ...); [heads * D, dim]."""
    rows, dim = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, dim).swapaxes(1, 2).reshape(rows, dim)


def read_vocabulary(path: Path, size: int) -> tuple[list[bytes], list[float]]:
    """Reads the pieces and their scores, in the order of their ids."""
    data, offset, pieces, scores = path.read_bytes(), 4, [], []
    try:
        for _ in range(size):
            score, length = struct.unpack_from("<fi", data, offset)
            offset += 8
            if length < 0 or offset + length > len(data):
                raise struct.error
            pieces.append(data[offset : offset + length])
            scores.append(score)
            offset += length
    except struct.error:
        raise ScriptError(f"{path}: ends after {len(pieces)} of the {size} tokens of the checkpoint") from None
    if offset != len(data):
        raise ScriptError(f"{path}: holds more than the {size} tokens of the checkpoint")
    return pieces, scores


def make_tokenizer(pieces: list[bytes], scores: list[float], path: Path) -> Tokenizer:
    """A BPE that merges the pair with the best score first, with bytes for unknown characters, as run.c does.

    Where a piece can be made of several pairs, each is a merge of the piece's own score; ties go to the lower id.
    """
    special = [UNKNOWN, BOS, EOS] + [f"<0x{byte:02X}>" for byte in range(256)]
    if len(pieces) < len(special):
        raise ScriptError(f"{path}: has {len(pieces)} tokens, fewer than the bytes alone")
    # Spaces are written as U+2581, the convention of sentencepiece that Hugging Face decoders expect.
    names = special + [piece.decode("utf-8").replace(" ", "\u2581") for piece in pieces[len(special) :]]
    vocabulary = {name: i for i, name in enumerate(names)}
    if len(vocabulary) != len(names):
        raise ScriptError(f"{path}: lists a token twice")
    merges = []
    for i, name in enumerate(names[len(special) :], start=len(special)):
        splits = ((name[:cut], name[cut:]) for cut in range(1, len(name)))
        merges += [(-scores[i], i, pair) for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
    merges.sort(key=lambda merge: merge[:2])
    bpe = models.BPE(vocabulary, [pair for _, _, pair in merges], unk_token=UNKNOWN, byte_fallback=True, fuse_unk=False)
    tokenizer = Tokenizer(bpe)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (UNKNOWN, BOS, EOS)])
    # run.c puts one space before the text.
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="MODEL.bin")
    parser.add_argument("tokenizer", type=Path, metavar="TOKENIZER.bin")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args()
    config, tensors = read_checkpoint(arguments.checkpoint)
    pieces, scores = read_vocabulary(arguments.tokenizer, config["vocab_size"])
    tokenizer = make_tokenizer(pieces, scores, arguments.tokenizer)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with written_aside(arguments.output / "model.safetensors") as aside:
        save_file(tensors, aside, metadata={"format": "pt"})
    write_text(arguments.output / "tokenizer.json", tokenizer.to_str(pretty=True))
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN, "bos_token": BOS,
                        "eos_token": EOS, "model_max_length": config["max_position_embeddings"]}
    write_text(arguments.output / "tokenizer_config.json", json.dumps(tokenizer_config, indent=2) + "\n")
    write_text(arguments.output / "config.json", json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    run_main(main)
