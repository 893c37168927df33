"""What the machine is (no names, no paths) and what its gemm and exp reach."""

import os
import time
from pathlib import Path

import torch

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_fp16")


def cpu_fields() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def bytes_of_field(file: str, field: str) -> int:
    """A field of /proc/meminfo or of a process's status, in bytes; 0 where it is not there."""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def memory_bytes(field: str = "MemAvailable") -> int:
    return bytes_of_field("/proc/meminfo", field)


def peak_resident_bytes(process: int | str = "self") -> int:
    """The most memory that a process has had in it since it began its program; ru_maxrss would count its parent's too."""
    return bytes_of_field(f"/proc/{process}/status", "VmHWM")


def describe(threads: int) -> dict:
    fields = cpu_fields()
    present = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", "unknown"),
        "family_model_stepping": "/".join(fields.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_bytes("MemTotal") / 1e9, 1),
        "flags": [flag for flag in FLAGS if flag in present],
        "threads": threads,
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "amx_bf16": "amx_bf16" in present,
    }


def best_seconds(run, repeats: int) -> float:
    run()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def peaks(threads: int, quick: bool) -> dict:
    """FLOP/s of torch.mm in each dtype, exponentials a second of torch.exp in the cache; the best of several runs."""
    torch.set_num_threads(threads)
    repeats = 2 if quick else 9
    found = {}
    for dtype, size in ((torch.float32, 512 if quick else 2048), (torch.bfloat16, 1024 if quick else 4096)):
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        out = torch.empty(size, size, dtype=dtype)
        name = str(dtype).removeprefix("torch.")
        found[f"gemm_{name}"] = 2 * size**3 / best_seconds(lambda: torch.mm(a, b, out=out), repeats)
    x = torch.randn(1 << 18)
    y = torch.empty_like(x)
    found["exp"] = x.numel() / best_seconds(lambda: torch.exp(x, out=y), 50)
    return found
