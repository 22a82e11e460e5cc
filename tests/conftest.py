"""What all tests share: markers, tolerances by number format, working folder, the program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
"""The type of the fixture `molexa`."""
TOLERANCE: dict[str, float] = {"float64": 1e-10, "float32": 1e-4}
"""Relative tolerance of a computation that is exact but for rounding, by number format."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--faults", type=int, default=3, help="damaged inputs of every kind")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips: dict[str, pytest.MarkDecorator] = {}
    if not config.getoption("--slow"):
        skips["slow"] = pytest.mark.skip(reason="slow; run with --slow")
    # Not the keywords: the folder of a checkout, named gpu, is one.
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            skips["gpu"] = pytest.mark.skip(reason="no CUDA device here")
    for item in items:
        for marker, skip in skips.items():
            if item.get_closest_marker(marker):
                item.add_marker(skip)


@pytest.fixture
def tolerance() -> dict[str, float]:
    """The tolerance table."""
    return dict(TOLERANCE)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20260101)


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes that a test started, and did not come to end because it failed, are ended."""
    started: list[subprocess.Popen[bytes]] = []
    begin = subprocess.Popen.__init__

    def kept(process: subprocess.Popen[bytes], *words: Any, **options: Any) -> None:
        begin(process, *words, **options)
        started.append(process)

    monkeypatch.setattr(subprocess.Popen, "__init__", kept)
    yield
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def molexa(tmp_path: Path) -> Run:
    """Run `molexa` with these arguments in a process of its own, in an empty folder."""

    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "molexa_cli.main", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return run
