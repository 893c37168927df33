#!/usr/bin/env python3
"""Exports a local Hugging Face causal language model as a TorchScript file that sinkscope measures.

    scripts/export_hf.py llama/ -o llama.pt --text book.txt --length 64 --sequences 100
    scripts/export_hf.py --random-init --config config.json -o random.pt

Attention becomes one fused causal node per layer, with grouped K and V kept, wherever that says the same; otherwise the
family's own eager attention is kept and stderr says why. The written file is compared with the original at two other
batch sizes and lengths before it gets its name. Samples and metadata go into it as sinkscope.json.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is local; never ask the network

import torch
import transformers
from sinkscope_export import huggingface, tokens
from sinkscope_export.files import ScriptError, read_text, run_main, usage_error, written_aside
from sinkscope_export.fused_attention import positions_of
from sinkscope_export.trace import PREFIX, choose_attention, count_fused, self_check, write_traced
from tokenize_hf import add_text_arguments, sequences_from


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?", metavar="DIR", help="config.json, safetensors, tokenizer")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.pt")
    parser.add_argument("--attention", choices=("fused", "eager"), default="fused",
                        help="fused where that says the same (default), or the family's own attention")
    parser.add_argument("--dtype", choices=tuple(huggingface.DTYPES), help="default: the checkpoint's")
    parser.add_argument("--random-init", action="store_true", help="random weights from --config instead of DIR")
    parser.add_argument("--config", type=Path, metavar="FILE", help="config.json for --random-init")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    samples = parser.add_argument_group("sample sequences stored in the file (one of --text and --tokens)")
    samples.add_argument("--text", type=Path, metavar="FILE", help="UTF-8 text for DIR's tokenizer")
    samples.add_argument("--tokens", type=Path, metavar="FILE.jsonl", help="token ids, one list a line")
    add_text_arguments(samples)
    arguments = parser.parse_args()
    if arguments.random_init != (arguments.config is not None) or arguments.random_init == (arguments.directory is not None):
        parser.error("give either DIR, or --random-init with --config FILE")
    if arguments.text and arguments.tokens:
        parser.error("--text and --tokens exclude each other")
    if arguments.text and arguments.random_init:
        parser.error("--text needs the tokenizer of a DIR; give --tokens")
    return arguments


def samples_of(arguments: argparse.Namespace, tokenizer: tokens.Tokenizer | None, vocabulary: int) -> list[list[int]]:
    """The sample sequences; ids outside the vocabulary are refused here rather than crash the measurement."""
    if arguments.tokens:
        samples = tokens.read_token_file(arguments.tokens, length=arguments.length, sequences=arguments.sequences)
    elif arguments.text:
        samples = sequences_from(tokenizer, read_text(arguments.text), arguments.text, arguments).ids
    else:
        return []
    for number, ids in enumerate(samples):
        if max(ids) >= vocabulary:
            raise ScriptError(f"{arguments.tokens or arguments.text}: sequence {number} has id {max(ids)}, "
                              f"the model's vocabulary is {vocabulary}")
    return samples


def tokenizer_of(arguments: argparse.Namespace) -> tokens.Tokenizer | None:
    """The directory's tokenizer. A directory without one can still be exported, unless --text needs it."""
    if arguments.directory is None:
        return None
    try:
        return tokens.load_tokenizer(arguments.directory)
    except ScriptError as error:
        if arguments.text:
            raise
        print(f"note: the file will name no tokenizer: {error}", file=sys.stderr)
        return None


def bos_of(model: transformers.PreTrainedModel, tokenizer: tokens.Tokenizer | None) -> dict:
    if tokenizer is not None and tokenizer.bos_id is not None:
        return tokenizer.bos
    return {"id": model.config.get_text_config().bos_token_id, "added_by_tokenizer": False}


def main() -> None:
    arguments = parse_arguments()
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # jit reads deprecated properties
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    dtype = huggingface.DTYPES.get(arguments.dtype)
    if arguments.random_init:
        model, names = huggingface.random_model(arguments.config, dtype, arguments.seed), None
    else:
        model, names = huggingface.load_model(arguments.directory, dtype), huggingface.tensor_names(arguments.directory)
    tokenizer = tokenizer_of(arguments)
    config = huggingface.config_dictionary(model)
    text_config = model.config.get_text_config()
    weight_map = huggingface.weight_map(model, names, PREFIX)
    left_out = sum(1 for _ in model.named_parameters(remove_duplicate=False)) - len(weight_map)
    if left_out:
        print(f"note: {left_out} parameters have no entry in the weight map", file=sys.stderr)
    metadata = {
        "family": model.config.model_type,
        "config": config,
        "vocabulary": text_config.vocab_size,
        "positions": positions_of(model),
        "dtype": huggingface.dtype_name(model.dtype),
        "input": "tokens",
        "bos": bos_of(model, tokenizer),
        "tokenizer": tokenizer.identity if tokenizer else None,
        "samples": samples_of(arguments, tokenizer, text_config.vocab_size),
        "weight_map": weight_map,
        "parameters": "stored",
        "exporter": {"transformers": transformers.__version__, "torch": torch.__version__},
    }
    longest = max(map(len, metadata["samples"]), default=0)
    if metadata["positions"] and longest > metadata["positions"]:
        raise usage_error(f"a sample has {longest} tokens, the model {metadata['positions']} positions; lower --length")

    attention, reason = choose_attention(model, arguments.attention)
    metadata["exporter"]["attention"] = attention
    if reason:
        print(f"note: attention is exported as the family's own (eager): {reason}", file=sys.stderr)
    with written_aside(arguments.output) as aside:
        write_traced(model, metadata, aside)
        if attention == "fused":
            count_fused(aside, text_config.num_hidden_layers)
        checks = self_check(aside, model)
        for check in checks:
            print(f"self-check, {check}", file=sys.stderr)
        if not all(check.ok for check in checks):
            raise ScriptError("the exported model does not give the original's logits; nothing was written")
    print(f"{arguments.output}: {model.config.model_type}, {metadata['dtype']}, {attention} attention, "
          f"{len(metadata['samples'])} samples", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
