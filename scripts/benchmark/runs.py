"""Runs sinkscope and the peers, interleaved round by round."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sinkscope_export.files import ScriptError

from .machine import memory_bytes
from .reach import seconds as median_seconds

SCRIPTS = Path(__file__).resolve().parents[1]
PEERS = ("eager", "two_pass", "sdpa")
LAYERS, HEADS = 8, 8
SIZES = {"float32": 4, "bfloat16": 2}
LONG = 8192  # above it there are fewer rounds
MEMORY_SHARE = 0.85  # of what is free may be used
TIMEOUT = 3600


@dataclass
class Setting:
    binary: Path
    model: Path
    config: Path
    dtype: str
    threads: int
    seed: int
    limit_seconds: float


@dataclass
class Outcome:
    seconds: float
    peak_rss_bytes: int
    stdout: str


def run_program(command: list[object]) -> Outcome:
    """Wall time, peak resident memory and stdout of a program that must succeed."""
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "taken.json"
        launched = [sys.executable, "-I", "-S", SCRIPTS / "benchmark" / "launch.py", taken, *command]
        done = subprocess.run(list(map(str, launched)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise ScriptError(f"`{Path(str(command[0])).name} {command[1]}` ended with {done.returncode}: "
                              f"{done.stderr.strip()[-400:]}")
        return Outcome(**json.loads(taken.read_text(encoding="utf-8")), stdout=done.stdout)


def sinkscope(setting: Setting, command: str, length: int, *more: object, sequences: int = 1,
              model: Path | None = None) -> Outcome:
    return run_program([setting.binary, command, model or setting.model, "--random-tokens", sequences, "--length", length,
                        "--dtype", setting.dtype, "--threads", setting.threads, "--seed", setting.seed, "--device", "cpu",
                        "--bos", "keep", "--quiet", *more])


def bench_once(setting: Setting, length: int, runs: int, sequences: int = 1) -> dict:
    outcome = sinkscope(setting, "bench", length, "--json", "--runs", runs, sequences=sequences)
    return {**json.loads(outcome.stdout), "peak_rss_bytes": outcome.peak_rss_bytes}


class Peer:
    """A child process that runs one forward whenever it is asked to."""

    def __init__(self, setting: Setting, name: str, length: int):
        environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmark.peer", name, setting.config, setting.dtype, str(length),
             str(setting.threads), str(setting.seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        self.answer()

    def answer(self) -> dict:
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(TIMEOUT) else ""
        if not line:
            self.close()
            raise ChildProcessError("the peer ended before it answered")
        return json.loads(line)

    def run(self) -> dict:
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def memory_estimate(name: str, dtype: str, length: int) -> float:
    """Bytes of a peer: its process, activations, and the T x T matrices that eager keeps and softmax makes."""
    estimate = 0.6e9 + length * 50e3 * SIZES[dtype] / 2
    if name == "eager":
        matrix = HEADS * length**2
        estimate += LAYERS * matrix * SIZES[dtype] + matrix * (4 + 2 * SIZES[dtype])
    if name == "two_pass":
        estimate += 3 * HEADS * 256 * length * 4
    return estimate


def estimate(name: str, dtype: str, length: int, measured: list[dict]) -> float | None:
    """Seconds of a peer, quadratic from its own time at the longest shorter length; None where it has not been measured."""
    known = [(entry["length"], taken) for entry in measured if entry["dtype"] == dtype and entry["length"] < length
             and (taken := median_seconds(entry, name)) is not None]
    if not known:
        return None
    before, taken = max(known)
    return taken * (length / before) ** 2


def reason_to_skip(setting: Setting, name: str, length: int, measured: list[dict]) -> str | None:
    taken = estimate(name, setting.dtype, length, measured)
    if taken is not None and taken > setting.limit_seconds:
        return f"estimate {taken:.0f} s"
    memory = memory_estimate(name, setting.dtype, length)
    if memory > MEMORY_SHARE * memory_bytes():
        return f"estimate {memory / 1e9:.0f} GB"
    return None


def compare(setting: Setting, length: int, rounds: int, measured: list[dict]) -> dict:
    """All that is measured at one length. Every round runs sinkscope (plain and presets), then each peer once.

    measured: the entries so far, which say how long a peer will take. One that failed at some length is tried again at the next.
    """
    if length > LONG:
        rounds = max(1, rounds // 3)
    runs = 3 if length <= 4096 else 1
    peers: dict[str, Peer] = {}
    entry = {"dtype": setting.dtype, "length": length, "rounds": rounds, "runs_a_round": runs, "sinkscope": [],
             "peers": {name: {"runs": [], "skipped": None, "failed": None} for name in PEERS}}
    try:
        for name in PEERS:
            entry["peers"][name]["skipped"] = reason_to_skip(setting, name, length, measured)
            if entry["peers"][name]["skipped"] is not None:
                continue
            try:
                peers[name] = Peer(setting, name, length)
            except ChildProcessError as error:
                entry["peers"][name]["failed"] = str(error)
        for _ in range(rounds):
            entry["sinkscope"].append(bench_once(setting, length, runs))
            for name in list(peers):
                try:
                    entry["peers"][name]["runs"].append(peers[name].run())
                except (ChildProcessError, BrokenPipeError):
                    entry["peers"][name].update(runs=[], failed="the process was ended, most likely out of memory")
                    peers.pop(name).close()
    finally:
        for peer in peers.values():
            peer.close()
    return entry


def short_sequences(setting: Setting, runs: int, sequences: int) -> dict:
    return {"dtype": setting.dtype, "sequences": sequences, **bench_once(setting, 64, runs, sequences)}


def long_run(setting: Setting, model: Path, length: int) -> dict:
    """One layer over a very long sequence, the model with its loss alone and the full preset in processes of their own."""
    plain = sinkscope(setting, "measure", length, "--metric", "loss", "--json", model=model)
    try:
        full = sinkscope(setting, "measure", length, "--preset", "full", "--json", model=model)
    except ScriptError as error:
        return {"length": length, "dtype": setting.dtype, "completes": False, "error": str(error)}
    report = json.loads(full.stdout)
    return {"length": length, "dtype": setting.dtype, "completes": bool(report["complete"]),
            "plain_seconds": plain.seconds, "plain_rss_bytes": plain.peak_rss_bytes, "full_seconds": full.seconds,
            "full_rss_bytes": full.peak_rss_bytes}


def accuracy(setting: Setting, length: int) -> dict:
    outcome = sinkscope(setting, "measure", length, "--preset", "full", "--verify", "--json")
    verify = json.loads(outcome.stdout)["verify"]
    return {"dtype": setting.dtype, "length": length, "logits_bit_identical": verify["logits_bit_identical"],
            "max_error": verify["max_error"]}
