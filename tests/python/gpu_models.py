"""The whole models that a GPU check runs, written where transformers is, for a machine that has nothing but torch:

    .venv/bin/python tests/python/gpu_models.py FOLDER

FOLDER/compare/ gets small models of several families, their samples inside, for scripts/gpu_compare.py; FOLDER/bench.pt is the
model of scripts/bench.py in bfloat16 with half its layers, for `sinkscope bench`: its ratios are those of a layer.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import bench
from measuring import write_tokens
from sinkscope_export.families import random_inputs, task_of
from sinkscope_export.files import ScriptError, run_main, usage_error
from support import run_script
from tiny_models import write_tiny_model

FAMILIES = ("llama", "gpt2", "mistral", "gemma2", "gpt_oss", "bloom", "t5", "bert")
ATTENTION = ("fused", "eager")


def write_model(family: str, attention: str, path: Path) -> Path:
    """A small model file with three sequences of 40 tokens."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        model = write_tiny_model(directory, family)
        tokens = write_tokens(directory / "ids.jsonl", random_inputs(model.config, task_of(model.config), 3, 40))
        exported = run_script("export_hf.py", directory, "-o", path, "--attention", attention, "--tokens", tokens)
        if exported.returncode != 0:
            raise ScriptError(f"{family}: {exported.stderr}")
    return path


def write_all(folder: Path) -> None:
    compared = folder / "compare"
    compared.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        for attention in ATTENTION:
            write_model(family, attention, compared / f"{family}_{attention}.pt")
    with tempfile.TemporaryDirectory() as scratch:
        config = {**bench.CONFIG, "num_hidden_layers": bench.CONFIG["num_hidden_layers"] // 2}  # the folder stays small
        model, _ = bench.export(config, "bfloat16", 0, Path(scratch), "bench")
        (folder / "bench.pt").write_bytes(model.read_bytes())


def main() -> None:
    if len(sys.argv) != 2:
        raise usage_error("give the folder that the models go into")
    write_all(Path(sys.argv[1]))


if __name__ == "__main__":
    run_main(main)
