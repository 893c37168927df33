"""Bigram-Backcopy data: a Markov chain over characters, interrupted by triggers that copy the token before them.

Source: arXiv 2410.13835 and its code (BBM/data.py); the definition stands in the project's metrics.md, 2.24.1.
Ids 0..64 are the 65 characters of tinyshakespeare in code point order, 65 is <s>, 66 is <d> (never drawn).
"""

import json
from pathlib import Path

import numpy as np

START = 65  # <s>, the first token of every sequence
VOCABULARY = 67
TRIGGER_COUNT = 3


def count_pairs(text: str) -> dict:
    """Counts adjacent character pairs: `counts[x][y]` is how often character y follows character x."""
    alphabet = sorted(set(text))
    if len(alphabet) != START:
        raise ValueError(f"the text has {len(alphabet)} different characters, the task needs {START}")
    place = {character: i for i, character in enumerate(alphabet)}
    ids = np.array([place[character] for character in text])
    counts = np.zeros((START, START), dtype=np.int64)
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return {"alphabet": "".join(alphabet), "counts": counts.tolist()}


class BackcopyTask:
    """Distributions of the task, made from the pair counts.

    conditional [67, 67] float64: row x is the distribution of the token after x where x is not a trigger; row <s> is
    the unigram distribution without the triggers, as the first character is drawn. triggers: the three most frequent
    characters, here ' ', 'e' and 't' (ids 1, 43, 58).
    """

    def __init__(self, counts: np.ndarray):
        # The last character of the text begins no pair: over a million characters the row sums are the unigrams.
        unigrams = counts.sum(axis=1).astype(np.float64)
        self.triggers = sorted(int(i) for i in np.argsort(unigrams)[-TRIGGER_COUNT:])
        self.is_trigger = np.zeros(VOCABULARY, dtype=bool)
        self.is_trigger[self.triggers] = True
        self.conditional = np.zeros((VOCABULARY, VOCABULARY))
        self.conditional[:START, :START] = counts / unigrams[:, None]
        first = np.where(self.is_trigger[:START], 0.0, unigrams)
        self.conditional[START, :START] = first / first.sum()
        self._cumulative = np.cumsum(self.conditional, axis=1)
        # Rounding must not leave a gap below 1 into which a draw could fall.
        self._cumulative[:, START - 1 :] = 1.0

    @classmethod
    def from_file(cls, path: Path) -> "BackcopyTask":
        """Reads what count_pairs made; KeyError or ValueError for another file."""
        counts = np.array(json.loads(path.read_text(encoding="utf-8"))["counts"])
        if counts.shape != (START, START) or counts.min() < 0 or counts.sum(axis=1).min() == 0:
            raise ValueError("not 65 x 65 counts with a positive sum in every row")
        return cls(counts)

    def sample(self, random: np.random.Generator, sequences: int, length: int) -> np.ndarray:
        """Draws int64 [sequences, length]; every sequence begins with <s>."""
        draws = random.random((sequences, length - 1))
        ids = np.empty((sequences, length), dtype=np.int64)
        ids[:, 0] = START
        for i in range(length - 1):
            now = ids[:, i]
            drawn = (draws[:, i, None] >= self._cumulative[now]).sum(axis=1)
            ids[:, i + 1] = np.where(self.is_trigger[now], ids[:, i - 1], drawn)  # <s> is no trigger, so i > 0 there
        return ids

    def oracle_bigram_loss(self, ids: np.ndarray) -> float:
        """Entropy in nats of the next token, averaged over the non-trigger positions of ids [N, T]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(self.conditional > 0, self.conditional * np.log(self.conditional), 0.0)
        return float(-terms.sum(axis=1)[ids[~self.is_trigger[ids]]].mean())
