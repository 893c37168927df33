"""The targets, what was measured, and whether each is met."""

from statistics import median

PLAIN_LIMITS = {"float32": 1.28, "bfloat16": 1.33}
PASS_LIMITS = {"float32": 0.50, "bfloat16": 0.65}
EAGER_LIMITS = {"float32": 3.0, "bfloat16": 7.0}
SHORT = {"float32": "f32", "bfloat16": "bf16"}


def row(what: str, target: str, measured: str = "not measured", met: bool | None = None) -> dict:
    return {"what": what, "target": target, "measured": measured,
            "met": "-" if met is None else "met" if met else "not met"}


def entry_at(results: dict, dtype: str, length: int) -> dict | None:
    return next((entry for entry in results["comparisons"] if (entry["dtype"], entry["length"]) == (dtype, length)), None)


def ratio(entry: dict, preset: str) -> float:
    return median(run["presets"][preset]["ratio_to_plain"] for run in entry["sinkscope"])


def seconds(entry: dict, series: str) -> float | None:
    """Median over rounds of a series: plain, a preset, or a peer; None where it was skipped."""
    if series in entry["peers"]:
        times = [run["seconds"] for run in entry["peers"][series]["runs"]]
        return median(times) if times else None
    return median(parts_of(run, series)["seconds"]["median"] for run in entry["sinkscope"])


def parts_of(run: dict, series: str) -> dict:
    return run["plain"] if series == "plain" else run["presets"][series]


def held(entry: dict, series: str) -> int:
    """The most bytes that libtorch's allocator held besides the parameters."""
    return max(parts_of(run, series)["peak_memory_bytes"] for run in entry["sinkscope"])


def ratio_of_peer(entry: dict, peer: str, to: str) -> float | None:
    """Median over rounds of peer / sinkscope in the same round."""
    pairs = [run["seconds"] / parts_of(ours, to)["seconds"]["median"]
             for run, ours in zip(entry["peers"][peer]["runs"], entry["sinkscope"])]
    return median(pairs) if pairs else None


def cost_rows(entry: dict | None, dtype: str) -> list[dict]:
    short = SHORT[dtype]
    quick_row = f"quick / plain forward, T=4096, {short}", "<= 1.05"
    full_row = f"full / plain, T=4096, {short}"
    eager_row = f"Hugging Face eager / full, T=4096, {short}", f">= {EAGER_LIMITS[dtype]:g}"
    memory_row = f"peak memory of full above plain, T=4096, {short}", "<= 5 %"
    if entry is None:
        return [row(*quick_row), row(full_row, f"<= {PLAIN_LIMITS[dtype]:g}"), row(*eager_row), row(*memory_row)]
    quick, full = ratio(entry, "quick"), ratio(entry, "full")
    share = median(run["attention"]["share_of_plain"] for run in entry["sinkscope"])
    fused = median(run["attention"]["fused_pass_ratio"] for run in entry["sinkscope"])
    budget = min(quick + share * fused + 0.03, PLAIN_LIMITS[dtype])
    eager = ratio_of_peer(entry, "eager", "full")
    above = held(entry, "full") / held(entry, "plain") - 1
    return [
        row(*quick_row, f"{quick:.3f}", quick <= 1.05),
        row(full_row, f"<= {budget:.3f}: {quick:.3f} + {share:.3f} x {fused:.3f} + .03, at most {PLAIN_LIMITS[dtype]:g}",
            f"{full:.3f}", full <= budget),
        row(*eager_row) if eager is None else row(*eager_row, f"{eager:.1f}", eager >= EAGER_LIMITS[dtype]),
        row(*memory_row, f"{100 * above:.1f} %", above <= 0.05)]


def pass_rows(results: dict, dtype: str) -> list[dict]:
    found = {entry["dim"]: entry["ratio"] for entry in (results.get("kernel_bench") or {}).get("passes", [])
             if (entry["dtype"], entry["length"]) == (dtype, 4096)}
    applies = dtype == "float32" or results["machine"]["amx_bf16"]
    rows = []
    for dim in (64, 128):
        what = f"full pass / flash forward of the same call, T=4096, D={dim}, {SHORT[dtype]}"
        target = f"<= {PASS_LIMITS[dtype]:.2f}" + ("" if dtype == "float32" else " with amx_bf16")
        if dim in found:
            rows.append(row(what, target, f"{found[dim]:.3f}", found[dim] <= PASS_LIMITS[dtype] if applies else None))
        else:
            rows.append(row(what, target))
    return rows


def long_row(long: dict | None) -> dict:
    what = f"T={long['length'] if long else 131072}, one layer of 8 heads, vocabulary 256, bf16, full"
    target = "completes; <= 0.5 GB above the plain run, <= 4 GB in all"
    if long is None:
        return row(what, target)
    if not long["completes"]:
        return row(what, target, "does not complete", False)
    above, total = (long["full_rss_bytes"] - long["plain_rss_bytes"]) / 1e9, long["full_rss_bytes"] / 1e9
    return row(what, target, f"completes in {long['full_seconds']:.0f} s (plain {long['plain_seconds']:.0f} s); "
               f"{above:.2f} GB above, {total:.2f} GB in all", above <= 0.5 and total <= 4)


def growth_row(results: dict) -> dict:
    what, target = "growth of memory from T=8192 to T=32768, full, bf16", "<= 4.2x of what depends on T"
    small, large = (entry_at(results, "bfloat16", length) for length in (8192, 32768))
    if small is None or large is None:
        return row(what, target)
    growth = held(large, "full") / held(small, "full")
    return row(what, target, f"{growth:.2f}x", growth <= 4.2)


def short_rows(results: dict) -> list[dict]:
    rows = []
    for entry in results["short"]:
        for preset, limit in (("quick", 1.15), ("full", 1.5)):
            value = entry["presets"][preset]["ratio_to_plain"]
            rows.append(row(f"{entry['sequences']} sequences of T=64, {preset} / plain, {SHORT[entry['dtype']]}",
                            f"<= {limit:g}", f"{value:.3f}", value <= limit))
    return rows


def accuracy_row(results: dict) -> dict:
    what = "accuracy at T=8192 against float64, f32"
    target = "column sums 1e-5 relative, head-mean entropy 1e-5 nats"
    passed = results.get("accuracy_test")
    if passed is None:
        return row(what, target)
    return row(what, target, "the test of both limits passes" if passed else "the test of both limits fails", passed)


def rows(results: dict) -> list[dict]:
    dtypes = [dtype for dtype in SHORT if any(entry["dtype"] == dtype for entry in results["comparisons"])]
    found = []
    for dtype in dtypes:
        found += cost_rows(entry_at(results, dtype, 4096), dtype) + pass_rows(results, dtype)
    found += [long_row(results["long_run"]), growth_row(results), accuracy_row(results)]
    found.append(row("GPU: full / plain model forward, T=32768, bf16; quick", "<= 1.25; <= 1.03",
                     "not measured here; see CUDA"))
    return found + short_rows(results)
