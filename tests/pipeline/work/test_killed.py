"""A reduction whose processes are killed at random ends with the same hash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools" / "killed_units.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("more", [[], ["--dask"]], ids=["processes", "dask"])
def test_kills_at_random_change_nothing(more: list[str]) -> None:
    """Of processes of this machine; of scheduler, workers and client of a Dask cluster."""
    if more:
        pytest.importorskip("distributed", reason="needs the extra cluster")
    done = subprocess.run(
        [sys.executable, str(TOOL), "--repeats", "3", "--seed", "5", *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    assert "3 repeats ended with the same hash" in done.stdout
