#!/usr/bin/env python3
"""Compares every #include with the table of allowed directions below. Prints file:line for each violation; exit code 1 if any.

    scripts/check_layers.py [--root FOLDER]
"""
import argparse
import pathlib
import re
import sys

TORCH_FREE = {  # layer: the layers it may include, besides itself
    "base": "",
    "accumulate": "base",
    "files": "base",
    "config": "base files metric",
    "input": "base config files metric report",
    "metric": "base accumulate",
    "metrics": "base accumulate metric",
    "report": "base accumulate config files metric",
    "check": "base accumulate config files metric report",
    "sweep": "base config files report",
}
TORCH_FREE["apps"] = " ".join(TORCH_FREE)
TORCH = {
    "kernels": "base",
    "model": "base config files",
    "graph": "base metric model",
    "observe": "base metric kernels model graph",
    "measure": "base config files input metric report model graph observe kernels",
}
TORCH["apps/torch"] = " ".join([*TORCH_FREE, *TORCH])
ALLOWED = {layer: set(allowed.split()) | {layer} for layer, allowed in {**TORCH_FREE, **TORCH}.items()}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ANY_TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
CUDA = re.compile(r"^(cuda|cublas|cub/|thrust/|mma\.h|nvml)")
TORCH_GRAPH = re.compile(r"^torch/(csrc/jit/|script\.h|jit\.h)")


def layer_of(path):
    """Layer of a file, given by its path from the root; None for files that may include everything (test helpers)."""
    folders = path.parts[:-1]
    if folders[0] == "tests":
        folders = folders[1:]
        if folders and folders[0] not in ("metrics", "apps"):
            folders = ("lib", *folders)
    if not folders:
        return None
    if folders[0] == "lib":
        return folders[1] if len(folders) > 1 and folders[1] in ALLOWED else None
    if folders[0] == "apps":
        return "apps/torch" if folders[1:2] == ("torch",) else "apps"
    return folders[0]


def find(root, includer, name):
    """The file of this repository that an include names, from the root; None for a file of another library."""
    for folder in (root / includer.parent, root / "lib", root / "apps", root / "tests", root):
        if (folder / name).is_file():
            return (folder / name).resolve().relative_to(root)
    return None


def problem(root, path, name):
    """What is wrong with the include `name` in the file `path`, or None."""
    layer = layer_of(path)
    is_test = path.parts[0] == "tests"
    target = find(root, path, name)
    if target is None:
        if ANY_TORCH.match(name) and path.suffix in (".cu", ".cuh"):
            return "a CUDA file takes raw pointers and a stream, no torch header"
        if layer in TORCH_FREE and (ANY_TORCH.match(name) or CUDA.match(name)):
            return f"{layer} is torch-free"
        if layer == "kernels" and not is_test and TORCH_GRAPH.match(name):
            return "kernels know tensors, not graphs"
        return None
    included = layer_of(target)
    if layer is None or included is None or included in ALLOWED[layer]:
        return None
    if is_test and included in ("base", "files"):  # every test may read and write files
        return None
    return f"{layer} may include only: {' '.join(sorted(ALLOWED[layer]))}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root.resolve()
    files = sorted(
        path.relative_to(root)
        for folder in ("lib", "metrics", "apps", "tests")
        for path in (root / folder).rglob("*")
        if path.suffix in (".h", ".cpp", ".cu", ".cuh")
    )
    found = 0
    for path in files:
        for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), start=1):
            include = INCLUDE.match(line)
            wrong = include and problem(root, path, include[2])
            if wrong:
                print(f'{path}:{number}: "{include[2]}" is not allowed here: {wrong}')
                found += 1
    for folder in sorted((root / "lib").iterdir() if (root / "lib").is_dir() else []):
        if folder.is_dir() and folder.name not in ALLOWED:
            print(f"lib/{folder.name}: is in no row of the table in scripts/check_layers.py")
            found += 1
    print(f"{len(files)} files, {found} forbidden includes", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
