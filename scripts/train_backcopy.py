#!/usr/bin/env python3
"""Trains the Bigram-Backcopy task and writes the demo models: a small transformer that grows an attention sink.

    scripts/train_backcopy.py --layers 1 --heads 1 --checkpoints -o configs/demo/backcopy_1layer.pt
    scripts/train_backcopy.py --layers 3 --heads 2 -o configs/demo/backcopy_3layer.pt
    scripts/train_backcopy.py --count-pairs tinyshakespeare.txt          # writes configs/demo/tinyshakespeare_pairs.json

Beside NAME.pt it writes NAME.log.jsonl (one line every 200 steps) and, with --checkpoints, NAME/step<N>.safetensors.
The 64 sequences on which first-token mass and sink rate are logged are the sample sequences of NAME.pt, so
`sinkscope measure NAME.pt` must print what training logged. One seed on one machine with one number of threads gives
the same bits. Task and model: arXiv 2410.13835; recipe: AdamW, batch 64, T = 128, d = 128, 1600 steps. With seed 0 the
3-layer model has its sink at layer 1 head 0 (counted from 0), first-token mass .65, beside head 1 with .08.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from backcopy.model import BackcopyModel, first_token_mass, next_token_losses, risks
from backcopy.task import START, VOCABULARY, BackcopyTask, count_pairs
from safetensors.torch import save_file
from sinkscope_export.files import (
    ScriptError,
    read_json,
    read_text,
    run_main,
    sha256_of_file,
    usage_error,
    write_text,
    written_aside,
)
from sinkscope_export.model_file import parameter_names, write_model_file

PAIRS = Path(__file__).resolve().parent.parent / "configs" / "demo" / "tinyshakespeare_pairs.json"
BATCH, LENGTH = 64, 128  # sequences a step, tokens a sequence; the position table has LENGTH rows, all of them trained
EVALUATION_SEQUENCES, SAMPLES, SAMPLE_LENGTH = 256, 64, 64
EPSILON = 0.3  # a head is a sink on a sequence when its first-token mass is larger
LEARNING_RATE, BETAS, WEIGHT_DECAY = 1e-3, (0.9, 0.99), 1e-4


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, metavar="MODEL.pt", help="model file to write")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--width", type=int, default=128, help="hidden size d")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--log-every", type=int, default=200, metavar="N", help="steps between log lines, checkpoints")
    parser.add_argument("--checkpoints", action="store_true", help="write the weights at every log line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="the bits of the result depend on it")
    parser.add_argument("--pairs", type=Path, default=PAIRS, metavar="FILE", help="pair counts of the text")
    parser.add_argument("--count-pairs", type=Path, metavar="TEXT", help="only write --pairs from a text, no training")
    arguments = parser.parse_args()
    if not arguments.count_pairs and not arguments.output:
        parser.error("-o MODEL.pt is needed")
    if min(arguments.layers, arguments.heads, arguments.steps, arguments.log_every, arguments.threads) < 1:
        parser.error("--layers, --heads, --steps, --log-every and --threads must be at least 1")
    if arguments.width % arguments.heads:
        parser.error(f"--width {arguments.width} is no multiple of --heads {arguments.heads}")
    return arguments


def write_pair_counts(text_path: Path, output: Path) -> None:
    try:
        pairs = count_pairs(read_text(text_path))
    except ValueError as error:
        raise usage_error(f"{text_path}: {error}") from None
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in pairs["counts"])
    head = json.dumps({"text": text_path.name, "text_sha256": sha256_of_file(text_path), "alphabet": pairs["alphabet"]})
    write_text(output, f'{head[:-1]},\n"counts": [\n{rows}\n]}}\n')


class Evaluation:
    """A fixed held-out set: 256 sequences of 128 tokens for the losses, the first 64 tokens of 64 of them as samples."""

    def __init__(self, task: BackcopyTask, seed: int):
        self.ids = torch.from_numpy(task.sample(np.random.default_rng([seed, 1]), EVALUATION_SEQUENCES, LENGTH))
        self.samples = self.ids[:SAMPLES, :SAMPLE_LENGTH].contiguous()
        self.conditional = torch.from_numpy(task.conditional)
        self.is_trigger = torch.from_numpy(task.is_trigger)
        self.oracle = task.oracle_bigram_loss(self.ids.numpy())

    def measure(self, model: BackcopyModel) -> dict:
        """Losses in nats; first-token mass and sink rate as [layer][head] over the sample sequences."""
        backcopy, bigram = risks(model, self.ids, self.conditional, self.is_trigger)
        mass = first_token_mass(model, self.samples)  # [N, L, H]
        return {
            "backcopy_loss": backcopy,
            "bigram_loss": bigram,
            "oracle_bigram_loss": self.oracle,
            "sample_loss": float(next_token_losses(model, self.samples).mean()),
            "first_token_mass": mass.mean(dim=0).tolist(),
            "sink_rate": (mass > EPSILON).double().mean(dim=0).tolist(),
        }


def save_checkpoint(model: BackcopyModel, path: Path, step: int) -> None:
    with written_aside(path) as aside:
        save_file({name: p.detach() for name, p in model.named_parameters()}, aside, metadata={"step": str(step)})


def train(model: BackcopyModel, task: BackcopyTask, arguments: argparse.Namespace, report) -> None:
    """Runs AdamW; calls report(step, loss of the last batch or None) at step 0, every --log-every steps and at the end."""
    random = np.random.default_rng([arguments.seed, 0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY)
    report(0, None)
    for step in range(1, arguments.steps + 1):
        ids = torch.from_numpy(task.sample(random, BATCH, LENGTH + 1))
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % arguments.log_every == 0 or step == arguments.steps:
            report(step, float(loss.detach()))


def metadata_of(model: BackcopyModel, arguments: argparse.Namespace, task: BackcopyTask, samples: torch.Tensor) -> dict:
    alphabet = read_json(arguments.pairs)["alphabet"]
    return {
        "family": "backcopy",
        "config": {
            "model_type": "backcopy",
            "hidden_size": arguments.width,
            "intermediate_size": 4 * arguments.width,
            "num_hidden_layers": arguments.layers,
            "num_attention_heads": arguments.heads,
            "max_position_embeddings": LENGTH,
            "vocab_size": VOCABULARY,
            "layer_norm_eps": 1e-5,
            "hidden_act": "relu",
            "triggers": task.triggers,
            "training": {
                "steps": arguments.steps, "batch": BATCH, "length": LENGTH, "seed": arguments.seed, "optimizer": "AdamW",
                "learning_rate": LEARNING_RATE, "betas": BETAS, "weight_decay": WEIGHT_DECAY, "threads": arguments.threads,
                "pair_counts": {"name": arguments.pairs.name, "sha256": sha256_of_file(arguments.pairs)},
            },
        },
        "vocabulary": VOCABULARY,
        "positions": LENGTH,
        "dtype": "float32",
        "input": "tokens",
        "bos": {"id": START, "added_by_tokenizer": False},
        "tokenizer": {
            "name": "tinyshakespeare characters, <s>, <d>",
            "sha256": hashlib.sha256(alphabet.encode()).hexdigest(),
            "size": VOCABULARY,
        },
        "samples": samples.tolist(),
        "weight_map": {name: name for name in parameter_names(model)},
        "parameters": "stored",
        "exporter": {"transformers": None, "torch": torch.__version__},
    }


def main() -> None:
    arguments = parse_arguments()
    if arguments.count_pairs:
        return write_pair_counts(arguments.count_pairs, arguments.pairs)
    output: Path = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoints = output.with_suffix("")
    if arguments.checkpoints:
        checkpoints.mkdir(exist_ok=True)

    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(arguments.seed)
    try:
        task = BackcopyTask.from_file(arguments.pairs)
    except (KeyError, ValueError):
        raise ScriptError(f"{arguments.pairs}: not a file of 65 x 65 pair counts; make one with --count-pairs") from None
    evaluation = Evaluation(task, arguments.seed)
    model = BackcopyModel(VOCABULARY, LENGTH, arguments.width, arguments.layers, arguments.heads)
    lines, begin = [], time.monotonic()

    def report(step: int, loss: float | None) -> None:
        row = {"step": step, "training_loss": loss, **evaluation.measure(model)}
        lines.append(json.dumps(row))
        write_text(output.with_suffix(".log.jsonl"), "\n".join(lines) + "\n")
        masses = " ".join(f"{mass:.2f}" for layer in row["first_token_mass"] for mass in layer)
        print(f"step {step:5} {time.monotonic() - begin:6.0f} s  backcopy {row['backcopy_loss']:.4f}  bigram "
              f"{row['bigram_loss']:.4f} (oracle {evaluation.oracle:.4f})  first-token mass {masses}", file=sys.stderr)
        if arguments.checkpoints:
            save_checkpoint(model, checkpoints / f"step{step}.safetensors", step)

    train(model, task, arguments, report)
    model.eval()
    with torch.no_grad():
        # Batch 2 and a length that equals no other dimension, so that no size is baked into the graph.
        traced = torch.jit.trace(model, evaluation.ids[:2, :11], check_trace=False)
    write_model_file(traced, metadata_of(model, arguments, task, evaluation.samples), output)


if __name__ == "__main__":
    run_main(main)
