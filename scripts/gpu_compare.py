#!/usr/bin/env python3
"""Measures model files on the GPU and on the CPU and compares the numbers. Needs nothing but Python and sinkscope.

    scripts/gpu_compare.py build-gpu/sinkscope FOLDER/*.pt

The samples in each file are measured. Exits with 1 where a number differs by more than a thousandth (of 1, or of itself).
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

METRICS = ("first_token_mass", "sink_rate", "attention_entropy", "dominant_key", "massive_activation", "hidden_norm", "key_norm",
           "value_norm", "head_output_norm", "loss")
PARTS = ("value", "per_sequence", "per_site", "per_head")  # not every metric has all
TOLERANCE = 1e-3


def unlike(found, expected, tolerance: float) -> bool:
    """Whether two numbers, or lists of them, differ; null is like null only."""
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) != len(expected) or any(unlike(a, b, tolerance) for a, b in zip(found, expected))
    if found is None or expected is None:
        return found is not expected
    return not abs(found - expected) <= tolerance * max(1.0, abs(expected))


def differences(gpu: dict, cpu: dict, tolerance: float) -> Iterator[str]:
    """What differs between two reports of the same input on two devices."""
    if gpu["settings"]["device"] == cpu["settings"]["device"]:
        yield "no difference of device"
    for name in METRICS:
        a, b = gpu["metrics"][name], cpu["metrics"][name]
        for part in PARTS:
            if unlike(a.get(part), b.get(part), tolerance):
                yield name if part == "value" else f"{name}.{part}"
        for series, values in b.get("series", {}).items():
            if unlike(a["series"][series]["data"], values["data"], tolerance):
                yield f"{name}.{series}"


def report(binary: str, model: str, device: str) -> dict:
    command = [binary, "measure", model, "--device", device, "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{device}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
    return json.loads(done.stdout)


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__.splitlines()[2].strip(), file=sys.stderr)
        return 2
    failed = 0
    for model in sys.argv[2:]:
        try:
            found = list(differences(report(sys.argv[1], model, "cuda"), report(sys.argv[1], model, "cpu"), TOLERANCE))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            found = [str(error)]
        failed += bool(found)
        print(f"{Path(model).name}: {'; '.join(found) or 'as on the CPU'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
