#!/usr/bin/env python3
"""Makes configs/graphs/: graphs of well-known models without their weights, so that measuring needs no Python.

    scripts/make_graphs.py                          # all of them, into configs/graphs/
    scripts/make_graphs.py gpt2 pythia-70m -o DIR   # some, elsewhere

The configurations are those of the models' public config.json files on the Hugging Face hub, whose names stand beside them.
Graphs are bfloat16; `sinkscope measure configs/graphs/NAME.pt --weights DIR` casts what DIR holds.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import export_hf
from sinkscope_export.files import run_main, usage_error

OUTPUT = Path(__file__).resolve().parents[1] / "configs" / "graphs"


def _gpt2(width: int, layers: int, heads: int) -> dict:
    return {"model_type": "gpt2", "n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": 1024,
            "vocab_size": 50257, "layer_norm_epsilon": 1e-5, "bos_token_id": 50256, "eos_token_id": 50256}


def _pythia(width: int, layers: int, heads: int, *, vocabulary: int = 50304) -> dict:
    return {"model_type": "gpt_neox", "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
            "num_attention_heads": heads, "vocab_size": vocabulary, "max_position_embeddings": 2048, "rotary_pct": 0.25,
            "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": True, "hidden_act": "gelu",
            "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0}


def _llama_like(family: str, width: int, inner: int, layers: int, heads: int, kv_heads: int, **more) -> dict:
    return {"model_type": family, "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "hidden_act": "silu", **more}


def _llama3(width: int, inner: int, layers: int, heads: int, *, head_dim: int, tied: bool, factor: float) -> dict:
    scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192}
    return _llama_like("llama", width, inner, layers, heads, 8, head_dim=head_dim, vocab_size=128256, rms_norm_eps=1e-5,
                       max_position_embeddings=131072, rope_theta=500000.0, rope_scaling=scaling, tie_word_embeddings=tied,
                       bos_token_id=128000, eos_token_id=128001)


def _qwen(family: str, width: int, inner: int, layers: int, heads: int, kv_heads: int, *, vocab_size: int = 151936,
          rms_norm_eps: float = 1e-6, **more) -> dict:
    return _llama_like(family, width, inner, layers, heads, kv_heads, vocab_size=vocab_size, rms_norm_eps=rms_norm_eps,
                       rope_theta=1000000.0, bos_token_id=151643, eos_token_id=151643, use_sliding_window=False, **more)


def _qwen3(width: int, inner: int, layers: int, heads: int, *, tied: bool) -> dict:
    return _qwen("qwen3", width, inner, layers, heads, 8, head_dim=128, tie_word_embeddings=tied, max_position_embeddings=32768)


def _mistral(**more) -> dict:
    return _llama_like("mistral", 4096, 14336, 32, 32, 8, max_position_embeddings=32768, rms_norm_eps=1e-5,
                       tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, **more)


def _olmo2(width: int, inner: int, layers: int, heads: int) -> dict:
    return _llama_like("olmo2", width, inner, layers, heads, heads, vocab_size=100352, max_position_embeddings=4096,
                       rope_theta=500000, rms_norm_eps=1e-6, tie_word_embeddings=False, bos_token_id=100257,
                       eos_token_id=100257, pad_token_id=100277)


# Name -> (hub repository whose config.json says so, the configuration).
GRAPHS: dict[str, tuple[str, dict]] = {
    "gpt2": ("openai-community/gpt2", _gpt2(768, 12, 12)),
    "gpt2-medium": ("openai-community/gpt2-medium", _gpt2(1024, 24, 16)),
    "gpt2-large": ("openai-community/gpt2-large", _gpt2(1280, 36, 20)),
    "gpt2-xl": ("openai-community/gpt2-xl", _gpt2(1600, 48, 25)),
    "pythia-70m": ("EleutherAI/pythia-70m", _pythia(512, 6, 8)),
    "pythia-160m": ("EleutherAI/pythia-160m", _pythia(768, 12, 12)),
    "pythia-410m": ("EleutherAI/pythia-410m", _pythia(1024, 24, 16)),
    "pythia-1b": ("EleutherAI/pythia-1b", _pythia(2048, 16, 8)),
    "pythia-1.4b": ("EleutherAI/pythia-1.4b", _pythia(2048, 24, 16)),
    "pythia-2.8b": ("EleutherAI/pythia-2.8b", _pythia(2560, 32, 32)),
    "pythia-6.9b": ("EleutherAI/pythia-6.9b", _pythia(4096, 32, 32, vocabulary=50432)),
    "pythia-12b": ("EleutherAI/pythia-12b", _pythia(5120, 36, 40, vocabulary=50688)),
    "llama-3.2-1b": ("meta-llama/Llama-3.2-1B", _llama3(2048, 8192, 16, 32, head_dim=64, tied=True, factor=32.0)),
    "llama-3.2-3b": ("meta-llama/Llama-3.2-3B", _llama3(3072, 8192, 28, 24, head_dim=128, tied=True, factor=32.0)),
    "llama-3.1-8b": ("meta-llama/Llama-3.1-8B", _llama3(4096, 14336, 32, 32, head_dim=128, tied=False, factor=8.0)),
    "qwen2.5-0.5b": ("Qwen/Qwen2.5-0.5B", _qwen("qwen2", 896, 4864, 24, 14, 2, tie_word_embeddings=True,
                                                max_position_embeddings=32768)),
    "qwen2.5-1.5b": ("Qwen/Qwen2.5-1.5B", _qwen("qwen2", 1536, 8960, 28, 12, 2, tie_word_embeddings=True,
                                                max_position_embeddings=131072)),
    "qwen2.5-3b": ("Qwen/Qwen2.5-3B", _qwen("qwen2", 2048, 11008, 36, 16, 2, tie_word_embeddings=True,
                                            max_position_embeddings=32768)),
    "qwen2.5-7b": ("Qwen/Qwen2.5-7B", _qwen("qwen2", 3584, 18944, 28, 28, 4, vocab_size=152064, tie_word_embeddings=False,
                                            max_position_embeddings=131072)),
    "qwen2.5-14b": ("Qwen/Qwen2.5-14B", _qwen("qwen2", 5120, 13824, 48, 40, 8, vocab_size=152064, rms_norm_eps=1e-5,
                                              tie_word_embeddings=False, max_position_embeddings=131072)),
    "qwen3-0.6b": ("Qwen/Qwen3-0.6B-Base", _qwen3(1024, 3072, 28, 16, tied=True)),
    "qwen3-1.7b": ("Qwen/Qwen3-1.7B-Base", _qwen3(2048, 6144, 28, 16, tied=True)),
    "qwen3-4b": ("Qwen/Qwen3-4B-Base", _qwen3(2560, 9728, 36, 32, tied=True)),
    "qwen3-8b": ("Qwen/Qwen3-8B-Base", _qwen3(4096, 12288, 36, 32, tied=False)),
    "qwen3-14b": ("Qwen/Qwen3-14B-Base", _qwen3(5120, 17408, 40, 40, tied=False)),
    "mistral-7b-v0.1": ("mistralai/Mistral-7B-v0.1", _mistral(vocab_size=32000, rope_theta=10000.0, sliding_window=4096)),
    "mistral-7b-v0.3": ("mistralai/Mistral-7B-v0.3", _mistral(vocab_size=32768, rope_theta=1000000.0, sliding_window=None)),
    "olmo2-1b": ("allenai/OLMo-2-0425-1B", _olmo2(2048, 8192, 16, 16)),
    "olmo2-7b": ("allenai/OLMo-2-1124-7B", _olmo2(4096, 11008, 32, 32)),
    "olmo2-13b": ("allenai/OLMo-2-1124-13B", _olmo2(5120, 13824, 40, 40)),
}


def make(name: str, folder: Path) -> None:
    source, config = GRAPHS[name]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "config.json"
        file.write_text(json.dumps(config))
        flags = ["--graph-only", "--config", str(file), "--dtype", "bfloat16", "-o", str(folder / f"{name}.pt")]
        print(f"{name}: the configuration of {source}", file=sys.stderr)
        with mock.patch.object(sys, "argv", ["export_hf.py", *flags]):
            export_hf.main()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(GRAPHS)} (all)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="DIR", help="default: configs/graphs")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in GRAPHS]:
        raise usage_error(f"no graph named {', '.join(unknown)}; there are {', '.join(GRAPHS)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or GRAPHS:
        make(name, arguments.output)


if __name__ == "__main__":
    run_main(main)
