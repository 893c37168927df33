"""Token sequences from text: every sequence begins with what the model's own tokenizer puts first.

A tokenizer called once on a long text puts its BOS only before the first window; here every window gets it, because
the first token is what a sink measurement is about.
"""

import hashlib
import itertools
import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .files import ScriptError, sha256_of_file, usage_error

SPLITS = ("documents", "chunks")
# Files that define a tokenizer, most complete first; the first set that is there is what gets hashed.
TOKENIZER_FILES = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
BLANK_LINE = re.compile(r"\n[ \t\r]*\n")  # WikiText's blank lines hold a space
CHARACTERS_PER_TOKEN = 64  # far above any tokenizer on prose: so much text is enough, a corpus of gigabytes is not read


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer and its identity. prefix: the ids it puts before every text, None where that cannot be told from what it
    does to the text itself; bos_id: its BOS even if it adds none."""

    name: str
    sha256: str
    size: int
    prefix: tuple[int, ...] | None
    bos_id: int | None
    encode: Callable[[str], list[int]]  # text -> ids without special tokens

    @property
    def identity(self) -> dict:
        return {"name": self.name, "sha256": self.sha256, "size": self.size}

    @property
    def bos(self) -> dict:
        known = None if self.prefix is None else self.bos_id is not None and self.bos_id in self.prefix
        return {"id": self.bos_id, "added_by_tokenizer": known}


def load_tokenizer(path: Path) -> Tokenizer:
    """Loads a Hugging Face directory's tokenizer, or a bare tokenizer.json."""
    if path.is_dir():
        return _from_directory(path)
    if not path.exists():
        raise ScriptError(f"{path}: no such directory or tokenizer.json")
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ScriptError(f"{path}: not a tokenizer.json ({error})") from None
    plain = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    prefix = _prefix(plain, lambda text: tokenizer.encode(text).ids)
    # A bare file does not say which of its tokens is the BOS; one that is put first is it.
    bos = prefix[0] if prefix else None
    return Tokenizer(path.name, sha256_of_file(path), tokenizer.get_vocab_size(), prefix, bos, plain)


def _from_directory(path: Path) -> Tokenizer:
    import transformers

    transformers.logging.set_verbosity_error()  # a text longer than the model's context is not an error here
    found = [names for names in TOKENIZER_FILES if all((path / name).is_file() for name in names)]
    if not found:
        raise ScriptError(f"{path}: holds no tokenizer (looked for {', '.join(n for names in TOKENIZER_FILES for n in names)})")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # many kinds, all meaning the same to the caller
        raise ScriptError(f"{path}: its tokenizer cannot be loaded ({error})") from None
    digest = hashlib.sha256(b"".join((path / name).read_bytes() for name in found[0])).hexdigest()
    plain = lambda text: tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    prefix = _prefix(plain, tokenizer.encode)
    return Tokenizer(path.resolve().name, digest, len(tokenizer), prefix, tokenizer.bos_token_id, plain)


def _prefix(plain: Callable[[str], list[int]], special: Callable[[str], list[int]]) -> tuple[int, ...] | None:
    """The ids that the tokenizer itself puts before a text. What it appends is left out: sequences are cut, not ended."""
    text = plain("a")
    full = special("a")
    for begin in range(len(full) - len(text) + 1):
        if full[begin : begin + len(text)] == text:
            return tuple(full[:begin])
    return None


@dataclass(frozen=True)
class Sequences:
    """ids: lists of exactly `length` ids; too_short: documents that were skipped because they have fewer."""

    ids: list[list[int]]
    too_short: int


def make_sequences(
    tokenizer: Tokenizer, text: str, *, length: int, sequences: int, split: str, separator: str | None, special_tokens: bool
) -> Sequences:
    """Cuts a text into at most `sequences` sequences of `length` ids, the tokenizer's own prefix counted in.

    chunks: the text is one stream, cut into consecutive windows. documents: the text is parted at `separator` (None:
    at blank lines), each part gives its first window, and parts with too few tokens are skipped.
    """
    if special_tokens and tokenizer.prefix is None:
        raise ScriptError(f"{tokenizer.name}: its special tokens change the text's own tokens; tokenize without them "
                          "(tokenize_hf.py --no-special-tokens) and add them to the ids yourself")
    prefix = list(tokenizer.prefix) if special_tokens else []
    body = length - len(prefix)
    if body < 1 or sequences < 1:
        raise usage_error(f"--length must exceed {len(prefix)} (the tokenizer's own prefix) and --sequences must be positive")
    if split == "chunks":
        ids = tokenizer.encode(text[: CHARACTERS_PER_TOKEN * body * sequences])
        windows = [ids[i * body : (i + 1) * body] for i in range(min(sequences, len(ids) // body))]
        return Sequences([prefix + window for window in windows], 0)
    found, too_short = [], 0
    for document in _documents(text, separator):
        ids = tokenizer.encode(document[: CHARACTERS_PER_TOKEN * body])[:body]
        if len(ids) < body:
            too_short += 1
            continue
        found.append(prefix + ids)
        if len(found) == sequences:
            break
    return Sequences(found, too_short)


def _documents(text: str, separator: str | None) -> Iterator[str]:
    parts = BLANK_LINE.split(text) if separator is None else text.split(separator)
    return (part for part in (part.strip("\r\n") for part in parts) if part)


def read_token_file(path: Path, *, length: int | None = None, sequences: int | None = None) -> list[list[int]]:
    """Reads a .jsonl of token ids: `[1,2]`, `{"ids": [...]}` or `{"input_ids": [...]}` a line; crops and limits."""
    found = []
    with path.open(encoding="utf-8") as lines:
        numbered = ((i, line) for i, line in enumerate(lines, start=1) if line.strip())
        for number, line in itertools.islice(numbered, sequences):
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise ScriptError(f"{path}:{number}: not JSON ({error})") from None
            if isinstance(value, dict):
                if 0 in value.get("attention_mask", ()):
                    raise ScriptError(f"{path}:{number}: is padded; remove the padding from stored samples")
                value = value.get("ids", value.get("input_ids"))
            if not isinstance(value, list) or not value or not all(type(token) is int and token >= 0 for token in value):
                raise ScriptError(f"{path}:{number}: not a list of token ids")
            found.append(value[:length])
    return found


def sha256_of_ids(sequences: list[list[int]]) -> str:
    """The report's `input.sha256`: for each sequence its length, then its ids, int64 little endian."""
    digest = hashlib.sha256()
    for ids in sequences:
        digest.update(struct.pack(f"<{1 + len(ids)}q", len(ids), *ids))
    return digest.hexdigest()
