"""scripts/check_layers.py finds violations that are planted in a small tree."""
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "check_layers.py"

HEADERS = ["base/error.h", "metric/metric.h", "report/report.h", "model/load_model.h", "kernels/row_stats.h"]


def check(root, files):
    """Runs the script on a tree of the usual headers and `files` (path: text)."""
    for path, text in {**{f"lib/{header}": "#pragma once\n" for header in HEADERS}, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return subprocess.run([sys.executable, SCRIPT, "--root", root], capture_output=True, text=True)


ALLOWED = [
    ("lib/report/json.cpp", '#include "metric/metric.h"'),
    ("lib/report/json.cpp", '#include "report.h"'),
    ("lib/model/load_model.cpp", "#include <torch/script.h>"),
    ("lib/kernels/row_stats.cpp", "#include <ATen/core/Tensor.h>"),
    ("lib/kernels/cuda/row_stats.cu", "#include <cuda_runtime.h>"),
    ("lib/kernels/cuda/row_stats_cuda.cpp", "#include <c10/cuda/CUDAGuard.h>"),
    ("apps/torch/measure.cpp", '#include "report/report.h"\n#include "model/load_model.h"'),
    ("apps/show.cpp", '#include "report/report.h"'),
    ("tests/report/json_test.cpp", '#include "base/error.h"\n#include "report/report.h"'),
]


@pytest.mark.parametrize("path, text", ALLOWED)
def test_an_allowed_include_passes(tmp_path, path, text):
    run = check(tmp_path, {path: text + "\n"})
    assert (run.returncode, run.stdout) == (0, "")


FORBIDDEN = [
    ("lib/metric/metric.cpp", '#include "report/report.h"'),  # against the direction
    ("lib/report/json.cpp", '#include "model/load_model.h"'),  # the torch half from the torch-free one
    ("lib/report/json.cpp", "#include <torch/script.h>"),
    ("lib/base/guard.h", "#  include <c10/util/Exception.h>"),
    ("lib/config/device.cpp", "#include <cuda_runtime.h>"),
    ("metrics/sink_rate.cpp", "#include <ATen/ATen.h>"),
    ("metrics/sink_rate.cpp", '#include "report/report.h"'),
    ("lib/kernels/cuda/row_stats.cu", "#include <ATen/core/Tensor.h>"),
    ("lib/kernels/row_stats.cpp", "#include <torch/csrc/jit/ir/ir.h>"),
    ("lib/kernels/row_stats.cpp", '#include "model/load_model.h"'),
    ("apps/show.cpp", '#include "model/load_model.h"'),
    ("apps/show.cpp", '#include "torch/measure.h"'),
    ("tests/metric/metric_test.cpp", '#include "report/report.h"'),
    ("tests/report/json_test.cpp", "#include <torch/script.h>"),
]


@pytest.mark.parametrize("path, text", FORBIDDEN)
def test_a_planted_violation_is_found_with_file_and_line(tmp_path, path, text):
    run = check(tmp_path, {"apps/torch/measure.h": "#pragma once\n", path: "#include <string>\n" + text + "\n"})
    assert run.returncode == 1
    assert run.stdout.startswith(f"{path}:2: ")
    assert run.stdout.count("\n") == 1


def test_a_layer_without_a_row_is_refused(tmp_path):
    run = check(tmp_path, {"lib/misc/helpers.h": "#pragma once\n"})
    assert run.returncode == 1
    assert run.stdout.startswith("lib/misc: ")
