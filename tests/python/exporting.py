"""Exporting tiny Hugging Face models with export_hf.py."""

from pathlib import Path

import torch
from support import Result, run_script
from tiny_models import VOCABULARY


def export(directory: Path, output: Path, *flags) -> Result:
    result = run_script("export_hf.py", directory, "-o", output, *flags)
    assert result.returncode == 0, result.stderr
    return result


def ids_of(batch: int, length: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))
