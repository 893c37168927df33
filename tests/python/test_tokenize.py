"""tokenize_hf.py: every sequence begins with the tokenizer's own BOS, and the sidecar says where the ids come from."""

import hashlib
import json
import struct

import pytest
from sinkscope_export import tokens
from sinkscope_export.files import ScriptError
from support import run_script
from tiny_models import write_tiny_tokenizer

TEXT = "abcdefghij\n\nklm\n\nnopqrstuvwxyABCDEFG\n\n" * 3
A, N = 5 + ord("a") - ord(" "), 5 + ord("n") - ord(" ")  # ids of the tiny tokenizer


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def tokenize(directory, text, output, *flags):
    """Runs the script; returns its ids and its sidecar."""
    result = run_script("tokenize_hf.py", directory, "--text", text, "-o", output, *flags)
    assert result.returncode == 0, result.stderr
    ids = [json.loads(line) for line in output.read_text().splitlines()]
    return ids, json.loads((output.parent / (output.name + ".meta.json")).read_text())


def test_every_chunk_begins_with_the_bos_and_loses_no_token_of_the_text(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    ids, _ = tokenize(directory, text, tmp_path / "t.jsonl", "--length", 6, "--sequences", 5)
    assert [sequence[0] for sequence in ids] == [1] * 5
    body = [token for sequence in ids for token in sequence[1:]]
    expected = [4 if character == "\n" else 5 + ord(character) - ord(" ") for character in TEXT[:25]]
    assert body == expected


def test_documents_give_their_first_window_and_short_ones_are_skipped_and_counted(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    ids, sidecar = tokenize(
        directory, text, tmp_path / "t.jsonl", "--length", 9, "--sequences", 3, "--split", "documents"
    )
    assert ids == [[1, *range(A, A + 8)], [1, *range(N, N + 8)], [1, *range(A, A + 8)]]
    assert sidecar["documents_too_short"] == 1
    assert sidecar["separator"] is None


def test_blank_lines_may_hold_spaces_and_a_separator_of_ones_own_replaces_them(tmp_path):
    directory, text = write_tiny_tokenizer(tmp_path / "model"), tmp_path / "text.txt"
    text.write_text("abc\n \nnop|END|\r\nabcd\r\n")
    flags = ("--length", 4, "--sequences", 2, "--split", "documents")
    ids, _ = tokenize(directory, text, tmp_path / "a.jsonl", *flags)
    assert ids == [[1, A, A + 1, A + 2], [1, N, N + 1, N + 2]]
    ids, sidecar = tokenize(directory, text, tmp_path / "b.jsonl", *flags, "--separator", "|END|")
    assert [sequence[1] for sequence in ids] == [A, A]
    assert sidecar["separator"] == "|END|"


def test_a_tokenizer_that_adds_no_bos_is_left_as_it_is(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model", adds_bos=False)
    ids, sidecar = tokenize(directory, text, tmp_path / "t.jsonl", "--length", 4, "--sequences", 2)
    assert ids == [[A, A + 1, A + 2, A + 3], [A + 4, A + 5, A + 6, A + 7]]
    assert sidecar["bos"] == {"id": 1, "added_by_tokenizer": False}


def test_no_special_tokens_leaves_the_bos_out(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    ids, sidecar = tokenize(directory, text, tmp_path / "t.jsonl", "--length", 4, "--sequences", 1, "--no-special-tokens")
    assert ids == [[A, A + 1, A + 2, A + 3]]
    assert (sidecar["special_tokens"], sidecar["prefix"]) == (False, [])


def test_a_tokenizer_whose_special_tokens_change_the_text_is_used_without_them_only(tmp_path, text, monkeypatch):
    monkeypatch.setattr(tokens, "_prefix", lambda plain, special: None)
    tokenizer = tokens.load_tokenizer(write_tiny_tokenizer(tmp_path / "model"))
    assert tokenizer.bos == {"id": 1, "added_by_tokenizer": None}
    cut = {"length": 4, "sequences": 1, "split": "chunks", "separator": None}
    with pytest.raises(ScriptError, match="--no-special-tokens"):
        tokens.make_sequences(tokenizer, TEXT, **cut, special_tokens=True)
    assert tokens.make_sequences(tokenizer, TEXT, **cut, special_tokens=False).ids == [[A, A + 1, A + 2, A + 3]]


def test_an_output_that_would_overwrite_an_input_is_a_usage_error_and_leaves_it(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    for output in (text, directory / "tokenizer.json"):
        before = output.read_bytes()
        result = run_script("tokenize_hf.py", directory, "--text", text, "-o", output, "--length", 4, "--sequences", 1)
        assert result.returncode == 2 and "would overwrite an input" in result.stderr
        assert output.read_bytes() == before


def test_a_directory_and_its_tokenizer_json_give_the_same_ids(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    flags = ("--length", 7, "--sequences", 4)
    from_directory, one = tokenize(directory, text, tmp_path / "a.jsonl", *flags)
    from_file, other = tokenize(directory / "tokenizer.json", text, tmp_path / "b.jsonl", *flags)
    assert from_directory == from_file
    assert one["tokenizer"]["sha256"] == other["tokenizer"]["sha256"]


def test_the_sidecar_identifies_corpus_tokenizer_and_ids(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    output = tmp_path / "t.jsonl"
    ids, sidecar = tokenize(directory, text, output, "--length", 6, "--sequences", 3)
    packed = b"".join(struct.pack(f"<{1 + len(sequence)}q", len(sequence), *sequence) for sequence in ids)
    assert sidecar == {
        "format": 1,
        "file_sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "corpus": {"name": "text.txt", "sha256": hashlib.sha256(TEXT.encode()).hexdigest(), "bytes": len(TEXT)},
        "tokenizer": {
            "name": "model",
            "sha256": hashlib.sha256((directory / "tokenizer.json").read_bytes()).hexdigest(),
            "size": 95,
        },
        "bos": {"id": 1, "added_by_tokenizer": True},
        "special_tokens": True, "prefix": [1], "split": "chunks", "separator": None,
        "length": 6, "sequences": 3, "documents_too_short": 0,
    }


def test_too_few_sequences_is_a_warning_and_none_an_error(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    few = run_script("tokenize_hf.py", directory, "--text", text, "--length", 50, "-o", tmp_path / "t.jsonl")
    assert few.returncode == 0
    assert "gives 2 sequences of 50 tokens, not 100" in few.stderr
    none = run_script("tokenize_hf.py", directory, "--text", text, "--length", 500, "-o", tmp_path / "none.jsonl")
    assert none.returncode == 3
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("directory", "file", "code", "message"),
    [
        ("absent", "text.txt", 3, "no such directory or tokenizer.json"),
        ("empty", "text.txt", 3, "holds no tokenizer"),
        ("broken", "text.txt", 3, "cannot be loaded"),
        ("text.txt", "text.txt", 3, "not a tokenizer.json"),
        ("model", "absent.txt", 3, "No such file"),
        ("model", "latin1.txt", 3, "not UTF-8"),
    ],
)
def test_unusable_input_is_one_message_and_exit_code_3(tmp_path, text, directory, file, code, message):
    write_tiny_tokenizer(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    write_tiny_tokenizer(tmp_path / "broken")
    (tmp_path / "broken" / "tokenizer.json").write_text("{")
    (tmp_path / "latin1.txt").write_bytes("Größe".encode("latin-1"))
    result = run_script("tokenize_hf.py", tmp_path / directory, "--text", tmp_path / file, "-o", tmp_path / "t.jsonl")
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "t.jsonl").exists()


def test_a_length_that_the_bos_alone_fills_and_a_directory_as_output_are_usage_errors(tmp_path, text):
    directory = write_tiny_tokenizer(tmp_path / "model")
    for flags in (["--length", 1, "-o", tmp_path / "t.jsonl"], ["-o", directory], ["-o", tmp_path / "no" / "t.jsonl"]):
        result = run_script("tokenize_hf.py", directory, "--text", text, *flags)
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
