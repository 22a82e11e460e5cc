"""Running the program as a user does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


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
