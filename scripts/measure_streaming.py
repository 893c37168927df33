#!/usr/bin/env python3
"""Measures a 4 GB model with its weights resident and streamed: peak memory (VmHWM), time, and whether the numbers agree.

    scripts/measure_streaming.py [--folder DIR] [--gigabytes 4] [--length 256] [--keep]

Makes a graph-only model (bfloat16, the shape of a small Llama) and random weights in shards, runs the program twice, and
prints a Markdown table. Needs as much free disk as the weights take; removes them afterwards. Exit code 1 if the streamed
run needs more than --limit bytes or gives other numbers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEADS, KV_HEADS, INNER, VOCABULARY = 2048, 32, 8, 8192, 32000
SHARD_BYTES = 1 << 30


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        size = WIDTH // HEADS
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH, eps=1e-5), nn.RMSNorm(WIDTH, eps=1e-5)
        self.q = nn.Linear(WIDTH, HEADS * size, bias=False)
        self.k, self.v = (nn.Linear(WIDTH, KV_HEADS * size, bias=False) for _ in range(2))
        self.o = nn.Linear(HEADS * size, WIDTH, bias=False)
        self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        def split(y: Tensor) -> Tensor:
            return y.view(y.size(0), y.size(1), -1, WIDTH // HEADS).transpose(1, 2)

        h = self.norm1(x)
        mixed = F.scaled_dot_product_attention(
            split(self.q(h)), split(self.k(h)), split(self.v(h)), is_causal=True, enable_gqa=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.size(0), x.size(1), WIDTH))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    def __init__(self, layers: int):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def graph_only(layers: int) -> Decoder:
    """The model with one element in place of each parameter."""
    with torch.device("meta"):
        model = Decoder(layers)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.zeros(1, dtype=torch.bfloat16).expand(parameter.shape)
                module._parameters[name] = nn.Parameter(empty, requires_grad=False)
    return model.eval()


def write_model(folder: Path, gigabytes: float) -> int:
    """Writes graph.pt and weights/; returns the bytes of the weights."""
    per_layer = sum(p.numel() for p in graph_only(1).layers.parameters())
    outside = sum(p.numel() for p in graph_only(0).parameters())
    layers = max(1, round((gigabytes * 1e9 / 2 - outside) / per_layer))
    model = graph_only(layers)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model, torch.zeros(2, 11, dtype=torch.long), check_trace=False).save(str(folder / "graph.pt"))
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    shard, size, files, total, index = {}, 0, 0, 0, {}

    def flush() -> None:
        nonlocal shard, size, files
        files += 1
        save_file(shard, folder / "weights" / f"part{files}.safetensors")
        index.update(dict.fromkeys(shard, f"part{files}.safetensors"))
        shard, size = {}, 0

    for name, parameter in model.named_parameters():
        value = torch.ones(parameter.shape) if parameter.dim() == 1 else torch.randn(parameter.shape) * 0.02
        shard[name] = value.bfloat16()
        size += 2 * parameter.numel()
        total += 2 * parameter.numel()
        if size >= SHARD_BYTES:
            flush()
    if shard:
        flush()
    (folder / "weights" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return total


def run(binary: Path, folder: Path, length: int, *flags: str) -> tuple[dict, int, float]:
    """The report, the peak of the resident set in bytes, and the seconds it took."""
    command = [binary, "measure", folder / "graph.pt", "--weights", folder / "weights", "--random-tokens", "2", "--batch", "1",
               "--vocabulary", VOCABULARY, "--length", length, "--device", "cpu", "-q", "-o", folder / "report.json", *flags]
    start = time.monotonic()
    peak = 0
    with (folder / "table.txt").open("w") as table:
        process = subprocess.Popen(list(map(str, command)), stdout=table)
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            # Before the program has replaced the copy of this interpreter, the peak is the interpreter's.
            if "Name:\tsinkscope" in status:
                peak = max([peak, *(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))])
            time.sleep(0.01)
    if process.wait() != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return json.loads((folder / "report.json").read_text()), peak, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to put the weights (default: a temporary folder)")
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--limit", type=float, default=1.5e9, help="bytes that the streamed run may take")
    parser.add_argument("--keep", action="store_true", help="leave the files there")
    arguments = parser.parse_args()
    binary = Path(os.environ.get("SINKSCOPE_BINARY", ROOT / "build" / "sinkscope"))
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder, prefix="streaming-"))
    try:
        size = write_model(folder, arguments.gigabytes)
        rows = {kind: run(binary, folder, arguments.length, *flags)
                for kind, flags in (("resident", ()), ("streamed", ("--stream-weights",)))}
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    print(f"weights: {size / 1e9:.2f} GB bfloat16, 2 sequences of {arguments.length} tokens, {os.cpu_count()} CPU cores\n")
    print("| weights | VmHWM, GB | seconds in all | seconds measuring |\n| --- | ---: | ---: | ---: |")
    for kind, (report, peak, seconds) in rows.items():
        print(f"| {kind} | {peak / 1e9:.2f} | {seconds:.1f} | {report['run']['seconds']:.1f} |")
    same = rows["resident"][0]["metrics"] == rows["streamed"][0]["metrics"]
    print(f"\nall metrics {'agree bit for bit' if same else 'DIFFER'}")
    sys.exit(0 if same and rows["streamed"][1] <= arguments.limit else 1)


if __name__ == "__main__":
    main()
