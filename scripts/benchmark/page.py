"""The measured part of docs/performance.md as Markdown."""

from sinkscope_export.files import ScriptError

from . import reach, roofline

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
LABELS = {"plain": "plain forward", "quick": "sinkscope quick", "full": "sinkscope full", "eager": "Hugging Face eager",
          "two_pass": "two-pass torch", "sdpa": "Hugging Face sdpa"}


def replaced(page: str, text: str) -> str:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ScriptError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def curves(results: dict, dtype: str) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in LABELS}
    for entry in results["comparisons"]:
        if entry["dtype"] == dtype:
            for name in LABELS:
                if (value := reach.seconds(entry, name)) is not None:
                    found[name].append((entry["length"], value))
    return {name: line for name, line in found.items() if line}


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header), *("| " + " | ".join(row) + " |" for row in rows)]


def number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def machine_lines(results: dict) -> list[str]:
    machine, peaks = results["machine"], results["peaks"]
    return [f"{machine['cpu']} (family/model/stepping {machine['family_model_stepping']}), {machine['cores']} cores, "
            f"{machine['memory_gb']:g} GB, {machine['threads']} threads, torch {machine['torch']} ({machine['capability']}).",
            f"Flags: {', '.join(machine['flags']) or 'none of interest'}.",
            f"torch.mm reaches {peaks['gemm_float32'] / 1e9:.0f} GFLOP/s in float32 and "
            f"{peaks['gemm_bfloat16'] / 1e9:.0f} GFLOP/s in bfloat16, torch.exp {peaks['exp'] / 1e9:.2f} G a second."]


def absent(peer: dict) -> str:
    """Why a peer has no numbers."""
    return f"failed ({peer['failed']})" if peer.get("failed") else f"skipped ({peer['skipped']})"


def time_table(results: dict, dtype: str) -> list[str]:
    rows = []
    for entry in results["comparisons"]:
        if entry["dtype"] != dtype:
            continue
        cells = [str(entry["length"])]
        for name in LABELS:
            value = reach.seconds(entry, name)
            if value is None:
                cells.append(absent(entry["peers"][name]))
            elif name == "plain":
                cells.append(f"{number(value)} s")
            else:
                factor = (reach.ratio_of_peer(entry, name, "plain") if name in entry["peers"]
                          else reach.ratio(entry, name))
                cells.append(f"{number(value)} s, {factor:.2f}x")
        rows.append(cells)
    return table(["T", *LABELS.values()], rows)


def memory_table(results: dict, dtype: str) -> list[str]:
    rows = []
    for entry in results["comparisons"]:
        if entry["dtype"] != dtype:
            continue
        cells = [str(entry["length"])] + [f"{reach.held(entry, name) / 1e6:.1f}" for name in ("plain", "quick", "full")]
        cells.append(f"{max(run['peak_rss_bytes'] for run in entry['sinkscope']) / 1e6:.0f}")
        for peer in entry["peers"].values():
            peaks = [run["peak_rss_bytes"] / 1e6 for run in peer["runs"]]
            cells.append(f"{max(peaks):.0f}" if peaks else absent(peer))
        rows.append(cells)
    return table(["T", "plain, tensors", "quick, tensors", "full, tensors", "sinkscope, process", "eager, process",
                  "two-pass, process", "sdpa, process"], rows)


def attention_table(results: dict, dtype: str) -> list[str]:
    rows = []
    for entry in results["comparisons"]:
        if entry["dtype"] == dtype:
            values = [reach.median(run["attention"][key] for run in entry["sinkscope"])
                      for key in ("share_of_plain", "fused_pass_ratio")]
            rows.append([str(entry["length"]), *(f"{value:.3f}" for value in values)])
    return table(["T", "attention / plain forward", "fused pass / attention forward"], rows)


def reach_table(rows: list[dict]) -> list[str]:
    keys = ("what", "target", "measured", "met")
    return table([*keys[:3], ""], [[row[key] for key in keys] for row in rows])


def roofline_lines(results: dict) -> list[str]:
    kernel = results.get("kernel_bench")
    if not kernel:
        return ["Not measured: build/kernel_bench was not there."]
    rows = []
    for entry in roofline.table(kernel, results["peaks"], amx=results["machine"]["amx_bf16"]):
        rows.append([entry["pass"], entry["dtype"], str(entry["dim"]), f"{entry['seconds'] * 1e3:.2f}",
                     f"{entry['flops'] / 1e9:.3g}", f"{entry['exps'] / 1e9:.3g}", f"{entry['bytes'] / 1e6:.3g}",
                     entry["arithmetic"], f"{entry['gemm_fraction']:.2f}",
                     f"{entry['gemm_seconds'] * 1e3:.2f} + {entry['exp_seconds'] * 1e3:.2f}",
                     f"{entry['bound_fraction']:.2f}", f"{entry['bytes_per_second'] / 1e9:.1f}"])
    return [f"One call of 8 heads at T=4096, instruction set {kernel['kernels']}; a stream is [4096, 512]. Bytes are the "
            "operands and results, each once.", "",
            *table(["pass", "dtype", "D", "ms", "GFLOP", "G exp", "MB", "products in", "of that gemm peak",
                    "gemm + exp alone, ms", "of that bound", "GB/s"], rows), "",
            "The gemm peak is torch.mm's in the dtype of the products: sinkscope widens bfloat16 and multiplies in float32, but "
            "in the fused pass on a CPU with amx_bf16. The bound takes the products at that rate and the exponentials at "
            "torch.exp's, one after the other. More than 1 means that they overlap or that the fused exponential is cheaper than "
            "torch.exp."]


def accuracy_lines(results: dict) -> list[str]:
    names = sorted({name for entry in results["accuracy"] for name in entry["max_error"]})
    header = ["largest error"] + [f"{reach.SHORT[entry['dtype']]}, T={entry['length']}" for entry in results["accuracy"]]
    rows = [[f"`{name}`", *(f"{entry['max_error'][name]:.1e}" if entry["max_error"].get(name) is not None else "-"
                            for entry in results["accuracy"])] for name in names]
    same = all(entry["logits_bit_identical"] for entry in results["accuracy"])
    verdict = "bit-identical in every case" if same else "NOT bit-identical"
    return [*table(header, rows), "",
            "Norms and streams are relative, log-sum-exp is relative above 1, the others are absolute. Above 2048 tokens 64 sampled "
            f"rows are compared. The logits with and without measuring are {verdict}."]


def text(results: dict, picture: str) -> str:
    lines = ["### Machine", "", *machine_lines(results), "", f"![Time against length]({picture})"]
    for dtype in reach.SHORT:
        if any(entry["dtype"] == dtype for entry in results["comparisons"]):
            lines += ["", f"### Time, {dtype}", "", "Median over rounds, and the ratio to the plain forward of the same round.",
                      "", *time_table(results, dtype), "", *attention_table(results, dtype), "",
                      f"### Peak memory, {dtype}", "", "MB. Tensors: the most that libtorch's allocator held besides the "
                      "parameters. Process: peak resident memory, with libraries and weights.", "",
                      *memory_table(results, dtype)]
    return "\n".join([*lines, "", "### Targets", "", *reach_table(results["reach"]), "", "### Roofline", "",
                      *roofline_lines(results), "", "### Accuracy", "", *accuracy_lines(results)])
