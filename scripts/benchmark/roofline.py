"""What each pass must compute and move, and the fraction of this machine's gemm that it reaches."""

import re

HEADS, KV_HEADS, WIDTH = 8, 2, 512
FIRST_KEYS = 4  # in kernel_bench

PASS = re.compile(r"^(\w+) +T +(\d+) D +(\d+): forward +([\d.]+) ms, pass +([\d.]+) ms .*ratio ([\d.]+)", re.MULTILINE)
PARTS = re.compile(
    r"^(\w+) +B +(\d+) T +(\d+): first keys +([\d.]+) ms, stream +([\d.]+) ms \(norms alone +([\d.]+)\), "
    r"key and head norms +([\d.]+) ms", re.MULTILINE)
DTYPES = {"Float": "float32", "BFloat16": "bfloat16", "Half": "float16"}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def parse_kernel_bench(text: str) -> dict:
    """The lines of build/kernel_bench as {"passes": [...], "parts": [...]}, times in seconds."""
    passes = [{"dtype": DTYPES[kind], "length": int(length), "dim": int(dim), "forward": float(forward) / 1e3,
               "pass": float(seconds) / 1e3, "ratio": float(ratio)}
              for kind, length, dim, forward, seconds, ratio in PASS.findall(text)]
    parts = [{"dtype": DTYPES[kind], "batch": int(batch), "length": int(length), "first keys": float(keys) / 1e3,
              "stream": float(stream) / 1e3, "key and head norms": float(norms) / 1e3}
             for kind, batch, length, keys, stream, _, norms in PARTS.findall(text)]
    kernels = re.search(r"kernels (\S+)", text)
    return {"passes": passes, "parts": parts, "kernels": kernels.group(1) if kernels else "unknown"}


def pairs(length: int) -> float:
    """(query, key) pairs of a causal head."""
    return length * (length + 1) / 2


def costs(name: str, dtype: str, length: int, dim: int) -> dict[str, float]:
    """FLOPs of the matmuls, exponentials, and compulsory bytes of one call with HEADS heads."""
    size, queries, keys = BYTES[dtype], HEADS * length * dim, HEADS * length * dim
    rows = HEADS * length
    if name == "flash forward":
        return {"flops": 4 * HEADS * pairs(length) * dim, "exps": HEADS * pairs(length),
                "bytes": (3 * keys + queries) * size + 4 * rows}
    if name == "fused pass":  # reads Q, K, lse; writes column sums, entropy, row maximum and row sum
        return {"flops": 2 * HEADS * pairs(length) * dim, "exps": HEADS * pairs(length),
                "bytes": (queries + keys) * size + 4 * rows * 5}
    if name == "first keys":
        return {"flops": 2 * rows * FIRST_KEYS * dim, "exps": rows * FIRST_KEYS, "bytes": queries * size + 4 * rows}
    if name == "stream":
        return {"flops": 2 * length * WIDTH, "exps": 0, "bytes": length * WIDTH * size}
    if name == "key and head norms":
        return {"flops": 2 * (HEADS + KV_HEADS) * length * dim, "exps": 0,
                "bytes": (HEADS + KV_HEADS) * length * dim * size}
    raise ValueError(name)


def arithmetic(name: str, dtype: str, *, amx: bool) -> str:
    """The dtype in which a pass multiplies: torch's forward in its own; ours in float32, but the fused pass where AMX is."""
    return dtype if name == "flash forward" or (name == "fused pass" and dtype == "bfloat16" and amx) else "float32"


def table(kernel: dict, peaks: dict, *, amx: bool) -> list[dict]:
    """One row a pass: work, time, rates, the gemm fraction, and the time that gemm and exp alone would take.

    amx: whether the machine multiplies bfloat16 in tiles.
    """
    measured = []
    for entry in kernel["passes"]:
        measured += [("flash forward", entry, entry["dim"], entry["forward"]),
                     ("fused pass", entry, entry["dim"], entry["pass"])]
    for entry in kernel["parts"]:
        if entry["batch"] == 1:
            measured += [(name, entry, 64, entry[name]) for name in ("first keys", "stream", "key and head norms")]
    rows = []
    for name, entry, dim, seconds in measured:
        if f"gemm_{entry['dtype']}" not in peaks:
            continue
        work = costs(name, entry["dtype"], entry["length"], dim)
        products = arithmetic(name, entry["dtype"], amx=amx)
        gemm, exp = work["flops"] / peaks[f"gemm_{products}"], work["exps"] / peaks["exp"]
        rows.append({"pass": name, "dtype": entry["dtype"], "length": entry["length"], "dim": dim, "seconds": seconds,
                     **work, "arithmetic": products, "gemm_fraction": gemm / seconds, "gemm_seconds": gemm, "exp_seconds": exp,
                     "bound_fraction": (gemm + exp) / seconds, "bytes_per_second": work["bytes"] / seconds})
    return rows
