"""The user's cache folder, shared by processes that all start at once.

Containers on one disk count their processes from 1, so two writers may have the same number; tables
that both wrote under one temporary name were found damaged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROCESSES = 8
PROGRAM = """
import json, os, sys, time

os.getpid = lambda: 7
from molexa_core.base.storage import temporary
temporary._machine = lambda: sys.argv[1]
from molexa_core.base.progress import CollectingProgress
from molexa_core.physics.atomic.cache import atomic_tables, checksum
from molexa_core.physics.atomic.on_demand import growing_tables

time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
progress = CollectingProgress()
tables = [atomic_tables(symbol, 600.0, progress=progress) for symbol in ("H", "C")]
growing = growing_tables("Br", 60.0, progress=progress)
growing.save()
print(json.dumps({
    "said": progress.said + progress.warned,
    "content": [checksum({}, one.arrays()) for one in tables],
    "rows": len(growing),
}))
"""


@pytest.mark.slow
def test_eight_processes_and_an_empty_cache(tmp_path: Path) -> None:
    """None finds anything damaged; all have the same tables, and each is computed by one alone."""
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    start = str(time.time() + 10.0)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, f"{number:08x}", start],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    results = []
    for process in running:
        out, err = process.communicate(timeout=300)
        assert err == ""
        assert process.returncode == 0
        results.append(json.loads(out))
    said = [text for result in results for text in result["said"]]
    assert [text for text in said if not text.endswith("waiting for it")] == []
    assert len({json.dumps(result["content"]) for result in results}) == 1
    assert {result["rows"] for result in results} == {1}
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in files if not name.startswith("rows-")] == [
        "C-600.000eV.npz",
        "H-600.000eV.npz",
    ]
    assert len(files) == 3
