"""Fixtures of the Python tests."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts")]  # support, tiny_models; the packages beside the scripts


def pytest_configure(config: pytest.Config) -> None:
    # TorchScript is deprecated upstream and is what this project measures.
    config.addinivalue_line("filterwarnings", "ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data: SINKSCOPE_SHARED, or `shared` beside the repository. Skips visibly without it."""
    path = Path(os.environ.get("SINKSCOPE_SHARED", HERE.parents[2] / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}; set SINKSCOPE_SHARED")
    return path


@pytest.fixture(scope="session", autouse=True)
def two_threads() -> None:
    import torch

    torch.set_num_threads(2)


@pytest.fixture(scope="module")
def ids():
    """Token ids [batch, length] for a toy."""
    import toys

    return toys.ids_of(toys.BATCH, toys.LENGTH)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, ids) -> Path:
    """The ids as a token file."""
    from measuring import write_tokens

    return write_tokens(tmp_path_factory.mktemp("tokens") / "t.jsonl", ids.tolist())


def pytest_sessionfinish(session: pytest.Session) -> None:
    import families_table

    if session.testsfailed == 0:
        families_table.write_if_asked()
