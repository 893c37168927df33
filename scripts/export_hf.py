#!/usr/bin/env python3
"""Exports a local Hugging Face model as a TorchScript file that sinkscope measures.

    scripts/export_hf.py llama/ -o llama.pt --text book.txt --length 64 --sequences 100
    scripts/export_hf.py llama/ -o llama-graph.pt --graph-only      # then: measure llama-graph.pt --weights llama/
    scripts/export_hf.py --random-init --config config.json -o random.pt

Attention becomes one fused node per layer, with grouped K and V kept, wherever that says the same; otherwise the family's
own attention is kept and stderr says why. The file is compared with the original, and a small random twin of the
configuration with its own export, at two other batch sizes and lengths, before the file gets its name. Samples and metadata
go into it as sinkscope.json.
"""

import argparse
import os
import sys
from pathlib import Path

from sinkscope_export.files import ScriptError, read_text, refuse_overwriting, run_main, usage_error, written_aside
from sinkscope_export.tokens import Tokenizer, load_tokenizer, read_token_file
from tokenize_hf import add_text_arguments, sequences_from


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?", metavar="DIR", help="config.json, safetensors, tokenizer")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.pt")
    parser.add_argument("--attention", choices=("fused", "sdpa", "eager"), default="fused",
                        help="fused where that says the same (default), transformers' sdpa, or the family's own")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="default: the checkpoint's")
    parser.add_argument("--graph-only", action="store_true",
                        help="write the graph without weights, for `measure --weights`; DIR may lack them")
    parser.add_argument("--random-init", action="store_true", help="random weights from --config instead of DIR")
    parser.add_argument("--config", type=Path, metavar="FILE", help="config.json for --random-init or --graph-only")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--trust-remote-code", action="store_true",
                        help="run the Python code that DIR brings, also where transformers has the family itself")
    samples = parser.add_argument_group("sample sequences stored in the file (one of --text and --tokens)")
    samples.add_argument("--text", type=Path, metavar="FILE", help="UTF-8 text for DIR's tokenizer")
    samples.add_argument("--tokens", type=Path, metavar="FILE.jsonl", help="token ids, one list a line")
    add_text_arguments(samples)
    arguments = parser.parse_args()
    if (arguments.directory is None) == (arguments.config is None):
        parser.error("give either DIR, or --config FILE with --random-init or --graph-only")
    if arguments.config and arguments.random_init == arguments.graph_only:
        parser.error("--config needs one of --random-init and --graph-only")
    if arguments.random_init and not arguments.config:
        parser.error("--random-init takes --config FILE, not DIR")
    if arguments.text and arguments.tokens:
        parser.error("--text and --tokens exclude each other")
    refuse_overwriting(arguments.output, [arguments.directory, arguments.config, arguments.text, arguments.tokens])
    if arguments.text and arguments.config:
        parser.error("--text needs the tokenizer of a DIR; give --tokens")
    return arguments


def export(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is local; never ask the network
    # Only now, because importing torch and transformers takes seconds that --help and usage errors should not.
    from sinkscope_export import export_model

    export_model.quiet()
    config, task = export_model.configuration(arguments)
    tokenizer = tokenizer_of(arguments)
    text = config.get_text_config()
    samples = samples_of(arguments, tokenizer, getattr(text, "vocab_size", None))
    if samples and task.input != "tokens":
        raise usage_error(f"{config.model_type} takes pixels; --text and --tokens are for token models")
    export_model.check_sample_lengths(samples, getattr(text, "max_position_embeddings", None))
    metadata = {
        "bos": tokenizer.bos if tokenizer and tokenizer.bos_id is not None
        else {"id": getattr(text, "bos_token_id", None), "added_by_tokenizer": False if tokenizer else None},
        "tokenizer": tokenizer.identity if tokenizer else None,
        "samples": samples,
    }
    with written_aside(arguments.output) as aside:
        summary = export_model.export(arguments, config, task, metadata, aside)
    print(f"{arguments.output}: {summary}", file=sys.stderr)


def samples_of(arguments: argparse.Namespace, tokenizer: Tokenizer | None, vocabulary: int | None) -> list[list[int]]:
    """The sample sequences; ids outside the vocabulary are refused here rather than crash the measurement."""
    if arguments.tokens:
        samples = read_token_file(arguments.tokens, length=arguments.length, sequences=arguments.sequences)
    elif arguments.text:
        samples = sequences_from(tokenizer, read_text(arguments.text), arguments.text, arguments).ids
    else:
        return []
    for number, ids in enumerate(samples):
        if vocabulary and max(ids) >= vocabulary:
            raise ScriptError(f"{arguments.tokens or arguments.text}: sequence {number} has id {max(ids)}, "
                              f"the model's vocabulary is {vocabulary}")
    return samples


def tokenizer_of(arguments: argparse.Namespace) -> Tokenizer | None:
    """The directory's tokenizer. A directory without one can still be exported, unless --text needs it."""
    if arguments.directory is None:
        return None
    try:
        return load_tokenizer(arguments.directory)
    except ScriptError as error:
        if arguments.text:
            raise
        print(f"note: the file will name no tokenizer: {error}", file=sys.stderr)
        return None


def main() -> None:
    export(parse_arguments())


if __name__ == "__main__":
    run_main(main)
