#!/usr/bin/env python3
"""Makes token ids for `sinkscope measure --tokens` from a text, with a model's own tokenizer.

    scripts/tokenize_hf.py llama/ --text book.txt --length 64 --sequences 100 --split chunks -o tokens.jsonl

DIR is a Hugging Face directory or a tokenizer.json. Writes one JSON list of ids a line; every sequence, not only the
first, begins with the BOS that the tokenizer itself adds. Beside it goes OUTPUT.meta.json: hashes of the corpus, the
tokenizer and the ids, and how they were cut, which `sinkscope measure` copies into the report.
"""

import argparse
import json
import sys
from pathlib import Path

from sinkscope_export.files import ScriptError, read_text, refuse_overwriting, run_main, sha256_of_file, usage_error, write_text
from sinkscope_export.tokens import SPLITS, load_tokenizer, make_sequences, sha256_of_ids

SIDECAR_FORMAT = 1


def add_text_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say how a text becomes sequences; export_hf.py has the same."""
    parser.add_argument("--length", type=int, default=64, metavar="T", help="ids a sequence, BOS counted (64)")
    parser.add_argument("--sequences", type=int, default=100, metavar="N", help="sequences at most (100)")
    parser.add_argument("--split", choices=SPLITS, default="chunks", help="consecutive windows, or each document's first")
    parser.add_argument("--separator", metavar="STRING", help=r"what parts documents, \n for a line end (blank lines)")
    parser.add_argument("--no-special-tokens", action="store_true", help="leave out the BOS that the tokenizer adds")


def separator_of(arguments: argparse.Namespace) -> str | None:
    return arguments.separator and arguments.separator.replace("\\n", "\n")


def sequences_from(tokenizer, text: str, where: Path, arguments: argparse.Namespace):
    """Applies those flags; too few sequences is a warning, none is an error."""
    if arguments.separator == "":
        raise usage_error("--separator must not be empty")
    made = make_sequences(
        tokenizer, text, length=arguments.length, sequences=arguments.sequences, split=arguments.split,
        separator=separator_of(arguments), special_tokens=not arguments.no_special_tokens,
    )
    if not made.ids:
        raise ScriptError(f"{where}: gives no sequence of {arguments.length} tokens; give a longer text or a smaller --length")
    if len(made.ids) < arguments.sequences:
        print(f"warning: {where} gives {len(made.ids)} sequences of {arguments.length} tokens, not {arguments.sequences}",
              file=sys.stderr)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR", help="Hugging Face directory, or a tokenizer.json")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="UTF-8 text")
    add_text_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.jsonl")
    arguments = parser.parse_args()
    refuse_overwriting(arguments.output, [arguments.directory, arguments.text])

    tokenizer = load_tokenizer(arguments.directory)
    made = sequences_from(tokenizer, read_text(arguments.text), arguments.text, arguments)
    write_text(arguments.output, "".join(json.dumps(ids, separators=(",", ":")) + "\n" for ids in made.ids))
    special = not arguments.no_special_tokens
    sidecar = {
        "format": SIDECAR_FORMAT,
        "file_sha256": sha256_of_file(arguments.output),
        "sha256": sha256_of_ids(made.ids),
        "corpus": {
            "name": arguments.text.name,
            "sha256": sha256_of_file(arguments.text),
            "bytes": arguments.text.stat().st_size,
        },
        "tokenizer": tokenizer.identity,
        "bos": tokenizer.bos,
        "special_tokens": special,
        "prefix": list(tokenizer.prefix) if special else [],
        "split": arguments.split,
        "separator": separator_of(arguments) if arguments.split == "documents" else None,  # null: blank lines
        "length": arguments.length,
        "sequences": len(made.ids),
        "documents_too_short": made.too_short,
    }
    write_text(arguments.output.with_name(arguments.output.name + ".meta.json"), json.dumps(sidecar, indent=2) + "\n")
    print(f"{arguments.output}: {len(made.ids)} sequences of {arguments.length} ids, prefix {sidecar['prefix']}",
          file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
