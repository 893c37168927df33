#!/usr/bin/env python3
"""Compares sinkscope with the plain forward and with other ways to get the same statistics, and writes the pages.

    scripts/bench.sh                                  # sets up, measures all, writes docs/performance.md and .svg
    scripts/bench.py --quick-check                    # a smoke run in build/bench/quick; no page is touched
    scripts/bench.py --lengths 512,4096 --dtypes float32 --rounds 5
    scripts/bench.py --render                         # the pages again, from build/bench/results.json

Everything runs interleaved, round by round, on one Llama-shaped model with random weights. A peer that would take longer
than the limit, extrapolated from its own time at a shorter length, or that does not fit into memory is skipped; what was skipped
and what failed is shown as such.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmark import machine, page, plot, reach, roofline, runs
from sinkscope_export.files import ScriptError, run_main, usage_error, write_text

ROOT = Path(__file__).resolve().parent.parent
DTYPES = {"float32": 8192, "bfloat16": 32768}  # longest default length
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 512, "intermediate_size": 1408,
    "num_hidden_layers": runs.LAYERS, "num_attention_heads": runs.HEADS, "num_key_value_heads": 2, "head_dim": 64,
    "vocab_size": 512, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}
LONG_CONFIG = {**CONFIG, "num_hidden_layers": 1, "vocab_size": 256}
LONG_LENGTH, SHORT_SEQUENCES = 131072, 100
ACCURACY_LENGTHS = (2048, 8192)
ACCURACY_TEST = "column sums of T = 8192*"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", metavar="T,...", help="default: 512 to 32768 in bfloat16, to 8192 in float32")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="a third of them above 8192 tokens (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--limit-seconds", type=float, default=60, help="of one run of a peer (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and tokens (default: %(default)s)")
    parser.add_argument("--no-long-run", action="store_true", help=f"leave out the run over {LONG_LENGTH} tokens")
    parser.add_argument("--quick-check", action="store_true", help="T = 256 and 512, one round; writes no page")
    parser.add_argument("--add", action="store_true",
                        help="measure only --lengths and --short, and put them into the results of an earlier run")
    parser.add_argument("--short", action="store_true", help=f"with --add: the {SHORT_SEQUENCES} sequences of 64 tokens")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the pages from the results")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads are at least 1")
    arguments.dtypes = arguments.dtypes.split(",")
    if unknown := [name for name in arguments.dtypes if name not in DTYPES]:
        parser.error(f"--dtypes: {unknown[0]} is none of {', '.join(DTYPES)}")
    try:
        arguments.lengths = sorted(int(t) for t in arguments.lengths.split(",")) if arguments.lengths else None
    except ValueError:
        parser.error("--lengths: whole numbers with commas between them")
    if arguments.lengths and arguments.lengths[0] < 2:
        parser.error("--lengths: at least 2")
    if arguments.add and not (arguments.lengths or arguments.short):
        parser.error("--add needs --lengths or --short")
    if arguments.short and not arguments.add:
        parser.error("--short needs --add")
    if arguments.quick_check:
        arguments.lengths, arguments.rounds = arguments.lengths or [256, 512], 1
    return arguments


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def export(config: dict, dtype: str, seed: int, folder: Path, name: str) -> tuple[Path, Path]:
    """(TorchScript file, config.json); the same seed gives the peers the same weights."""
    config_path, model = folder / f"{name}.json", folder / f"{name}_{dtype}.pt"
    config_path.write_text(json.dumps({**config, "dtype": dtype}, indent=2) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "export_hf.py", "--random-init", "--config", config_path, "--dtype", dtype,
         "--seed", str(seed), "-o", model], capture_output=True, text=True)
    if done.returncode != 0:
        raise ScriptError(f"the model could not be exported:\n{done.stderr.strip()[-800:]}")
    return model, config_path


def lengths_of(arguments: argparse.Namespace, dtype: str) -> list[int]:
    return arguments.lengths or [2**n for n in range(9, 16) if 2**n <= DTYPES[dtype]]


def kernel_bench(arguments: argparse.Namespace) -> dict | None:
    program = ROOT / "build" / "kernel_bench"
    if arguments.quick_check or not program.is_file():
        return None
    say("kernels alone, T=4096")
    return roofline.parse_kernel_bench(runs.run_program([program, arguments.threads, 4096]).stdout)


def accuracy_test(arguments: argparse.Namespace) -> bool | None:
    """Whether the test of the limits at T=8192 passes; None where it was not built."""
    program = ROOT / "build" / "sinkscope_torch_tests"
    if arguments.quick_check or not program.is_file():
        return None
    say("accuracy at T=8192 against float64")
    return subprocess.run([program, ACCURACY_TEST], capture_output=True).returncode == 0


def measure(arguments: argparse.Namespace, folder: Path) -> dict:
    binary = ROOT / "build" / "sinkscope"
    if not binary.is_file():
        raise ScriptError("build/sinkscope is missing; run scripts/setup.sh")
    quick = arguments.quick_check
    say("peak of this machine's gemm")
    results = {"machine": machine.describe(arguments.threads), "peaks": machine.peaks(arguments.threads, quick),
               "quick_check": quick, "limit_seconds": arguments.limit_seconds, "comparisons": [], "short": [],
               "accuracy": [], "long_run": None}
    for dtype in arguments.dtypes:
        say(f"exporting the {dtype} model")
        model, config = export(CONFIG, dtype, arguments.seed, folder, "llama_8x8")
        setting = runs.Setting(binary, model, config, dtype, arguments.threads, arguments.seed, arguments.limit_seconds)
        for length in lengths_of(arguments, dtype):
            say(f"{dtype}, T={length}")
            results["comparisons"].append(runs.compare(setting, length, arguments.rounds, results["comparisons"]))
            write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")  # what there is so far
        say(f"{dtype}, {SHORT_SEQUENCES} sequences of 64 tokens")
        results["short"].append(runs.short_sequences(setting, 1 if quick else 7, 10 if quick else SHORT_SEQUENCES))
        for length in (256,) if quick else ACCURACY_LENGTHS:
            say(f"{dtype}, accuracy at T={length}")
            results["accuracy"].append(runs.accuracy(setting, length))
    if "bfloat16" in arguments.dtypes and not arguments.no_long_run:
        length = 1024 if quick else LONG_LENGTH
        say(f"one layer, T={length}")
        model, config = export(LONG_CONFIG, "bfloat16", arguments.seed, folder, "llama_1x8")
        setting = runs.Setting(binary, model, config, "bfloat16", arguments.threads, arguments.seed, 0)
        results["long_run"] = runs.long_run(setting, model, length)
    results["kernel_bench"] = kernel_bench(arguments)
    results["accuracy_test"] = accuracy_test(arguments)
    results["reach"] = reach.rows(results)
    return results


def put(comparisons: list[dict], entry: dict) -> None:
    """Puts an entry in the place of that of the same dtype and length, or where its length belongs."""
    comparisons[:] = [old for old in comparisons if (old["dtype"], old["length"]) != (entry["dtype"], entry["length"])]
    comparisons.append(entry)
    comparisons.sort(key=lambda one: (list(DTYPES).index(one["dtype"]), one["length"]))


def add(arguments: argparse.Namespace, folder: Path, results: dict) -> None:
    """Measures some lengths and the short sequences, again or for the first time, among those of an earlier run."""
    for dtype in arguments.dtypes:
        model, config = export(CONFIG, dtype, arguments.seed, folder, "llama_8x8")
        setting = runs.Setting(ROOT / "build" / "sinkscope", model, config, dtype, arguments.threads, arguments.seed,
                               arguments.limit_seconds)
        for length in arguments.lengths or []:
            say(f"{dtype}, T={length}")
            put(results["comparisons"], runs.compare(setting, length, arguments.rounds, results["comparisons"]))
        if arguments.short:
            say(f"{dtype}, {SHORT_SEQUENCES} sequences of 64 tokens")
            again = runs.short_sequences(setting, 7, SHORT_SEQUENCES)
            results["short"] = [again if entry["dtype"] == dtype else entry for entry in results["short"]]


def write_pages(results: dict, target: Path, picture: Path) -> None:
    """The measured part of the page between its markers, and the picture; the page is made if there is none."""
    panels = [(dtype, page.curves(results, dtype)) for dtype in DTYPES
              if any(entry["dtype"] == dtype for entry in results["comparisons"])]
    write_text(picture, plot.svg(panels, page.LABELS))
    before = target.read_text(encoding="utf-8") if target.is_file() else f"{page.BEGIN}\n{page.END}\n"
    write_text(target, page.replaced(before, page.text(results, picture.name)))


def main() -> None:
    arguments = parse_arguments()
    folder = ROOT / "build" / "bench" / ("quick" if arguments.quick_check else "")
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.quick_check:  # times do not matter here; idle threads sleep, so that busy cores do not slow it 30-fold
        os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    stored = folder / "results.json"
    if arguments.render or arguments.add:
        if not stored.is_file():
            raise usage_error("there are no results yet; run scripts/bench.sh")
        results = json.loads(stored.read_text(encoding="utf-8"))
        if arguments.add:
            add(arguments, folder, results)
        results["reach"] = reach.rows(results)
    else:
        results = measure(arguments, folder)
    write_text(stored, json.dumps(results, indent=1) + "\n")
    pages = folder if arguments.quick_check else ROOT / "docs"
    write_pages(results, pages / "performance.md", pages / "performance.svg")
    print("\n".join(page.reach_table(results["reach"])))


if __name__ == "__main__":
    run_main(main)
